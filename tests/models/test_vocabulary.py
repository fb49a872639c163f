"""Shared vocabularies: every token counts, and a message says where two of them part."""

from __future__ import annotations

import pytest
from conftest import prose, tiny_bert, word_tokenizer
from tokenizers import Tokenizer, models
from transformers import CanineConfig, CanineForSequenceClassification, PreTrainedTokenizerFast

from zskd.errors import InputError
from zskd.models.vocabulary import check_embeddings, require_one_vocabulary


def vocabulary(tokens: list[str] | dict[str, int]) -> PreTrainedTokenizerFast:
    """A tokenizer of these tokens, with the ids 0, 1, ... unless given."""
    ids = tokens if isinstance(tokens, dict) else {token: index for index, token in enumerate(tokens)}
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordPiece(ids)), unk_token="[UNK]")


WORDS = ["[UNK]", *(f"word{i}" for i in range(1_199))]


def difference(teacher: list[str] | dict[str, int], student: list[str] | dict[str, int]) -> str:
    with pytest.raises(InputError) as caught:
        require_one_vocabulary(vocabulary(teacher), vocabulary(student), why="--temperature")
    (problem,) = caught.value.problems
    assert problem.startswith("--temperature: ")
    return problem


def test_equal_vocabularies_pass_however_they_cut_words(tmp_path) -> None:
    teacher = word_tokenizer(prose(50))
    require_one_vocabulary(teacher, teacher, why="it")
    teacher.save_pretrained(tmp_path)
    require_one_vocabulary(teacher, PreTrainedTokenizerFast.from_pretrained(tmp_path), why="it")
    require_one_vocabulary(vocabulary(WORDS), vocabulary(dict(reversed(vocabulary(WORDS).vocab.items()))), why="it")


@pytest.mark.parametrize("swapped", [False, True])
def test_a_shorter_vocabulary_is_refused_with_both_sizes(swapped: bool) -> None:
    sides = [WORDS, WORDS[:1_100]]
    message = difference(*(reversed(sides) if swapped else sides))
    sizes, shown = (("1,100", "1,200"), ("nothing", "'word1099'"))
    if not swapped:
        sizes, shown = sizes[::-1], shown[::-1]
    assert f"{sizes[0]} and {sizes[1]} tokens" in message
    assert f"id 1100: {shown[0]} in the teacher's, {shown[1]} in the student's" in message


@pytest.mark.parametrize("at", [1, 600, 1_199])
def test_one_other_token_among_as_many_is_found(at: int) -> None:
    message = difference(WORDS, [*WORDS[:at], "other", *WORDS[at + 1 :]])
    assert "1,200 and 1,200 tokens" in message
    assert f"id {at}: '{WORDS[at]}' in the teacher's, 'other' in the student's" in message


def test_the_same_tokens_in_another_order_are_no_shared_vocabulary() -> None:
    message = difference(WORDS, [*WORDS[:700], WORDS[701], WORDS[700], *WORDS[702:]])
    assert f"id 700: '{WORDS[700]}' in the teacher's, '{WORDS[701]}' in the student's" in message


def test_the_first_of_several_differences_is_named() -> None:
    assert "first difference is id 3:" in difference(WORDS, [*WORDS[:3], "x", *WORDS[4:9], "y", *WORDS[10:]])
    assert "first difference is id 1199: 'word1198'" in difference(WORDS, [*WORDS[:-1], "x", "y", "z"])


def test_added_tokens_belong_to_the_vocabulary() -> None:
    teacher, student = vocabulary(WORDS), vocabulary(WORDS)
    student.add_tokens(["more"])
    with pytest.raises(InputError, match=r"1,200 and 1,201 tokens; the first difference is id 1200: nothing .* 'more'"):
        require_one_vocabulary(teacher, student, why="it")


def test_ids_behind_a_gap_are_compared() -> None:
    ids = {token: index for index, token in enumerate(WORDS[:20])}
    assert "id 30" in difference({**ids, "late": 30}, {**ids, "late": 31})


def test_every_id_needs_a_row_in_the_embedding_table() -> None:
    tokenizer = word_tokenizer(prose(50))
    rows = len(tokenizer)
    check_embeddings(tiny_bert(rows, ("a", "b")), tokenizer, shown="--teacher x")
    check_embeddings(tiny_bert(rows + 9, ("a", "b")), tokenizer, shown="--teacher x")  # tables are often rounded up
    for found in (rows - 1, 10):
        with pytest.raises(InputError, match=f"--teacher x: .* up to {rows - 1:,}, .* {found:,} rows"):
            check_embeddings(tiny_bert(found, ("a", "b")), tokenizer, shown="--teacher x")


def test_the_largest_id_counts_and_not_the_number_of_tokens() -> None:
    late = vocabulary({token: index for index, token in enumerate(WORDS[:20])} | {"late": 90})
    with pytest.raises(InputError, match=r"up to 90, .* 50 rows"):
        check_embeddings(tiny_bert(50, ("a", "b")), late, shown="--student x")
    check_embeddings(tiny_bert(91, ("a", "b")), late, shown="--student x")


def test_a_model_without_a_table_of_embeddings_is_refused() -> None:
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    model = CanineForSequenceClassification(CanineConfig(**shape))
    with pytest.raises(InputError, match=r"--teacher it: expected a model with an embedding for every token.*canine"):
        check_embeddings(model, word_tokenizer(prose(50)), shown="--teacher it")
