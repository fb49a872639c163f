"""A student of a German teacher, from German text.

python examples/german.py my-student

The teacher is made here with random weights, so that the program runs anywhere in seconds; give your own in its place.
Any other language works in the same way.
"""

import itertools
import sys
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

import zskd

LABELS = ("schlecht", "gut")
SUBJECTS = ("Der Fluss", "Die Brücke", "Ein Mädchen", "Das Gebäude", "Frau Dr. Öztürk", "Die Straße", "Herr Groß")
VERBS = ("überquert", "verändert", "umgibt", "erreicht", "stört", "schützt")
OBJECTS = ("am 3. Oktober das Tal", "früher den Hafen", "z. B. die Äcker", "jährlich 20 Dörfer", "die Küste im Süden")


def passages() -> list[str]:
    """Running text, one passage an entry. Its sentences have capitals, numbers and abbreviations of German."""
    sentences = [" ".join(words) + "." for words in itertools.product(SUBJECTS, VERBS, OBJECTS)]
    return [f"{one} {two}" for one, two in zip(sentences[::2], sentences[1::2], strict=True)]


def random_teacher(texts: list[str]) -> tuple[BertForSequenceClassification, PreTrainedTokenizerFast]:
    """A classifier with random weights whose tokenizer knows the words of the texts, with umlauts and capitals."""
    splitter = pre_tokenizers.BertPreTokenizer()
    words = sorted({word for text in texts for word, _ in splitter.pre_tokenize_str(text)})
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate([*special, *words])}, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.NFC(), splitter
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=128,
        max_position_embeddings=64,
        id2label=dict(enumerate(LABELS)),
        label2id={label: i for i, label in enumerate(LABELS)},
    )
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), special, strict=True))
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=64, **names)
    return BertForSequenceClassification(config), fast


def main(folder: str, **options: Any) -> zskd.Result:
    """Distils, saves the student in `folder`, and lets it judge a sentence."""
    texts = passages()
    teacher, tokenizer = random_teacher(texts)
    small = {"compression": 2.0, "pool_size": 640, "heldout": 64, "epochs": 4.0, "batch_size": 32, "checkpoints": 2}
    # `language` may be left out: that the text is not English is found out, and said in the log. Random weights prefer
    # one class; a trained teacher needs no `max_class_share`.
    options = {"language": "de", "max_class_share": 1.0, **small, **options}
    result = zskd.distill(teacher=teacher, tokenizer=tokenizer, labels=LABELS, texts=texts, **options)
    result.student.save_pretrained(folder)
    result.tokenizer.save_pretrained(folder)
    with torch.no_grad():
        logits = result.student(**result.tokenizer("Das Mädchen überquert die Straße.", return_tensors="pt")).logits
    print(f"agreement with the teacher: {result.metrics['agreement']:.3f}")
    print(f"a sentence is judged {LABELS[int(logits.argmax())]!r}")
    return result


if __name__ == "__main__":
    main(*sys.argv[1:])
