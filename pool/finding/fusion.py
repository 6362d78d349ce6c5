"""One order out of two. Pure.

Reciprocal rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009): only places count, because scores of words and of
vectors have no common scale; 60 is the constant of the paper.
"""

from collections.abc import Mapping, Sequence

__all__ = ["fused"]

_CONSTANT = 60


def fused(by_words: Mapping[int, float], by_meaning: Sequence[float]) -> dict[int, float]:
    """Scores by position. What shares no word is placed by its meaning alone; equals share the better place."""
    scores = dict.fromkeys(range(len(by_meaning)), 0.0)
    for found in (by_words, dict(enumerate(by_meaning))):
        place, last = 0, None
        for count, (position, score) in enumerate(sorted(found.items(), key=lambda pair: -pair[1]), 1):
            if score != last:
                place, last = count, score
            scores[position] += 1 / (_CONSTANT + place)
    return scores
