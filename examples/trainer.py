"""`ZeroShotTrainer` in a program of your own: it is a `transformers.Trainer` whose rows carry the teacher's logits.

python examples/trainer.py my-classifier my-small-model my-text.txt
"""

import sys
from pathlib import Path

from transformers import AutoModelForSequenceClassification

import zskd


def main(teacher_name: str, student_name: str, text: str, steps: int = 200) -> zskd.ZeroShotTrainer:
    """The student is any classifier with the teacher's vocabulary, as the adversary learns through both."""
    task = zskd.TASKS["sst2"]
    teacher = zskd.load_teacher(task, teacher_name)
    student = AutoModelForSequenceClassification.from_pretrained(student_name, num_labels=task.num_labels)
    texts = Path(text).read_text(encoding="utf-8").splitlines()
    held_out, texts = texts[:100], texts[100:]

    options = zskd.AdversarialOptions(adversarial_start=0.5)
    writer = zskd.GradientAdversary(zskd.build_generator(teacher), teacher, options)
    trainer = zskd.ZeroShotTrainer(
        student,
        zskd.ZeroShotArguments(
            "runs/mine", max_steps=steps, learning_rate=1e-3, temperature=2.0, logging_nan_inf_filter=False
        ),
        methods=[zskd.Adversarial(writer)],
        train_dataset=zskd.transfer_rows(teacher, (texts,), max_length=64),
        eval_dataset=zskd.transfer_rows(teacher, (held_out,), max_length=64),
        processing_class=teacher.tokenizer,
        callbacks=[zskd.AgreementCallback(task, teacher, (held_out,))],
    )
    trainer.train()
    print(f"agreement with the teacher on held-out text: {trainer.evaluate()['eval_agreement']:.3f}")
    trainer.save_model("my-student")
    return trainer


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3])
