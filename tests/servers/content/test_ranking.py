"""The rule of ranking, on words alone."""

from servers.content.ranking import ENOUGH_SCORE, ENOUGH_SCORE_OF_ONE_WORD, Candidate, Judgement, judge, share, weigh

WEIGHTS = weigh({"rotat": 1, "api": 5, "key": 8}, 20)
FILLER = ("lorem",) * 60


def candidate(*passages: str, title: str = "") -> Candidate:
    words = [tuple(passage.split()) for passage in passages]
    return Candidate(tuple(title.split()), words, {word for each in words for word in each})


def test_rare_words_weigh_more() -> None:
    assert WEIGHTS["rotat"] > WEIGHTS["api"] > WEIGHTS["key"]


def test_a_passage_with_all_words_beats_one_that_repeats_a_common_one() -> None:
    whole = judge(candidate("rotat the api key"), WEIGHTS)
    repeated = judge(candidate("key key key key key key"), WEIGHTS)
    assert whole.score > repeated.score
    assert whole.coverage == 1.0


def test_words_that_stand_together_beat_words_that_stand_apart() -> None:
    apart = f"rotat {' '.join(FILLER)} api {' '.join(FILLER)} key"
    near = f"rotat api key {' '.join(FILLER)} {' '.join(FILLER)}"
    assert judge(candidate(near), WEIGHTS).score > judge(candidate(apart), WEIGHTS).score


def test_a_document_that_opens_with_the_matter_beats_one_that_mentions_it_late() -> None:
    early = candidate("rotat the api key", "lorem ipsum")
    late = candidate("lorem ipsum", "rotat the api key")
    assert judge(early, WEIGHTS).score > judge(late, WEIGHTS).score
    assert judge(late, WEIGHTS).passage == 1


def test_a_title_counts_more_when_it_says_nothing_else_and_numbers_in_it_are_nothing() -> None:
    plain, versioned, long = (
        judge(candidate("lorem", title=title), WEIGHTS).score
        for title in ("api key", "api key 2 0 1", "the handbook of every api key ever made")
    )
    assert plain == versioned > long > 0


def test_the_score_of_a_full_answer_does_not_depend_on_the_length_of_the_question() -> None:
    short = weigh({"rotat": 1}, 20)
    long = weigh({f"word{number}": 1 for number in range(12)}, 20)
    one = judge(candidate("rotat"), short).score
    many = judge(candidate(" ".join(long)), long).score
    assert 0.5 < one < 1.3
    assert 0.5 < many < 1.3


def test_coverage_is_the_share_by_weight_in_the_document_and_in_its_best_passage() -> None:
    verdict = judge(candidate("lorem", "rotat", "key"), WEIGHTS)
    held = share(("rotat", "key"), WEIGHTS), share(("rotat",), WEIGHTS)
    assert verdict.passage == 1
    assert verdict.coverage == sum(held) / 2


def test_nothing_is_no_evidence() -> None:
    for nothing in (candidate("lorem ipsum"), Candidate((), (), frozenset())):
        assert judge(nothing, WEIGHTS) == Judgement(0.0, 0.0, 0, False)
    assert weigh({}, 0) == {}


def test_one_shared_word_has_to_weigh_more_unless_it_is_asked_alone_or_stands_in_the_title() -> None:
    weights = weigh({"rotat": 1, "api": 1, "key": 1}, 20)
    single = f"key {' '.join(FILLER)}"
    verdict = judge(candidate(single), weights)
    assert ENOUGH_SCORE < verdict.score < ENOUGH_SCORE_OF_ONE_WORD
    assert not verdict.is_evidence
    assert judge(candidate(single, title="key"), weights).is_evidence
    assert judge(candidate(single), weigh({"key": 1}, 20)).is_evidence
    assert judge(candidate(f"{single} rotat"), weights).is_evidence
    assert judge(candidate("rotat"), WEIGHTS).is_evidence  # rare, and all that the document says


def test_a_low_score_is_no_evidence() -> None:
    verdict = judge(candidate("lorem", " ".join(("api", *FILLER * 9, "key")), title="lorem"), WEIGHTS)
    assert 0 < verdict.score < ENOUGH_SCORE
    assert not verdict.is_evidence
