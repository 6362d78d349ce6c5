"""Documents made by hand for the tests: small PDFs, also encrypted ones, without any library that writes PDF."""

import hashlib
import zlib
from collections.abc import Sequence

__all__ = ["assemble", "pdf", "stream"]

_PAD = bytes.fromhex("28BF4E5E4E758A4164004E56FFFA01082E2E00B6D0683E802F0CA9FE6453697A")


def pdf(pages: Sequence[str], *, title: str | None = None, outline: Sequence[str] = (), password: str = "") -> bytes:
    """A PDF with one line of text after another on each page; an empty page text makes a page without any."""
    count = len(pages)
    entries = len(outline)
    first_outline = 4 + 2 * count
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(count))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R" + (f" /Outlines {first_outline} 0 R".encode() if outline else b"") + b" >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {count} >>".encode(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for number, text in enumerate(pages):
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {5 + 2 * number} 0 R "
            "/Resources << /Font << /F1 3 0 R >> >> >>".encode()
        )
        objects.append(stream(_shown(text)))
    if outline:
        objects.append(
            f"<< /Type /Outlines /First {first_outline + 1} 0 R /Last {first_outline + entries} 0 R >>".encode()
        )
        for number, entry in enumerate(outline, first_outline + 1):
            following = f" /Next {number + 1} 0 R" if number < first_outline + entries else ""
            objects.append(f"<< /Title ({entry}) /Parent {first_outline} 0 R{following} >>".encode())
    extra = b""
    if title is not None:
        objects.append(f"<< /Title ({title}) >>".encode())
        extra += f" /Info {len(objects)} 0 R".encode()
    if password:
        objects.append(_encryption(password))
        extra += f" /Encrypt {len(objects)} 0 R /ID [<{'00' * 16}> <{'00' * 16}>]".encode()
    return assemble(objects, extra)


def stream(data: bytes, *, compressed: bool = False) -> bytes:
    """A stream object; compressed it may unfold to a thousand times its size."""
    body = zlib.compress(data, 9) if compressed else data
    how = b" /Filter /FlateDecode" if compressed else b""
    return f"<< /Length {len(body)}".encode() + how + b" >>\nstream\n" + body + b"\nendstream"


def assemble(objects: Sequence[bytes], extra: bytes = b"") -> bytes:
    """Objects, numbered from 1 (the catalogue), with the table of where they are."""
    out = bytearray(b"%PDF-1.4\n")
    offsets: list[int] = []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += f"{number} 0 obj\n".encode() + body + b"\nendobj\n"
    table = len(out)
    out += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode()
    out += b"".join(f"{offset:010} 00000 n \n".encode() for offset in offsets)
    out += f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R".encode() + extra + b" >>\n"
    return bytes(out + f"startxref\n{table}\n%%EOF\n".encode())


def _shown(text: str) -> bytes:
    if not text:
        return b"0 0 100 100 re f"
    lines = [
        f"({line}) Tj T*" for line in text.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)").split("\n")
    ]
    return f"BT /F1 12 Tf 14 TL 72 720 Td {' '.join(lines)} ET".encode("latin-1")


def _encryption(password: str) -> bytes:
    """The standard security handler, revision 2 (40-bit RC4): enough to be asked for a password."""
    padded = (password.encode() + _PAD)[:32]
    owner = _rc4(hashlib.md5(padded).digest()[:5], padded)
    key = hashlib.md5(padded + owner + b"\xfc\xff\xff\xff" + bytes(16)).digest()[:5]
    user = _rc4(key, _PAD)
    return f"<< /Filter /Standard /V 1 /R 2 /P -4 /O <{owner.hex()}> /U <{user.hex()}> >>".encode()


def _rc4(key: bytes, data: bytes) -> bytes:
    state = list(range(256))
    j = 0
    for i in range(256):
        j = (j + state[i] + key[i % len(key)]) % 256
        state[i], state[j] = state[j], state[i]
    out = bytearray()
    i = j = 0
    for byte in data:
        i = (i + 1) % 256
        j = (j + state[i]) % 256
        state[i], state[j] = state[j], state[i]
        out.append(byte ^ state[(state[i] + state[j]) % 256])
    return bytes(out)
