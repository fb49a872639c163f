"""No file of a folder or repository is run, whatever standard input says: data is no consent."""

from __future__ import annotations

import ast
import io
import itertools
import json
import shutil
import sys
from pathlib import Path

import pytest
from guarded import NO_SUCH_WAY, ROLES, VERBS, World, observe

import zskd

# Loading calls that have no such argument, and why they run nothing.
HARMLESS = {
    "zskd/models/adapters.py: LoraConfig.from_pretrained": "reads JSON into a class that is named here",
    "zskd/methods/adversarial/adversary.py: type(self.writer.generator).from_pretrained": "the class is in use already",
}
LOADING = {"from_pretrained", "from_config", "pipeline"}


def test_every_loading_call_says_that_it_trusts_no_code() -> None:
    package, found = Path(zskd.__file__).parent, []
    for path in sorted(package.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            said = any(
                word.arg == "trust_remote_code" and isinstance(word.value, ast.Constant) and word.value.value is False
                for word in node.keywords
            )
            if name in LOADING and not said:
                found.append(f"{path.relative_to(package.parent)}: {ast.unparse(node.func)}")
    assert sorted(found) == sorted(HARMLESS)


def with_code(folder: Path, ran: Path) -> None:
    """Let a folder name code of its own for everything that an Auto class can load; the code writes a file."""
    classes = "\n".join(f"class {name}: pass" for name in ("Config", "Model", "Tokenizer"))
    (folder / "mine.py").write_text(f"open({str(ran)!r}, 'w').close()\n{classes}\n", encoding="utf-8")
    models = {f"AutoModelFor{kind}": "mine.Model" for kind in ("SequenceClassification", "MaskedLM")}
    own = {"AutoConfig": "mine.Config", "AutoModel": "mine.Model", **models}
    for name, values in (
        ("config.json", {"model_type": "mine", "auto_map": own}),
        ("tokenizer_config.json", {"tokenizer_class": "Mine", "auto_map": {"AutoTokenizer": ["mine.Tokenizer"] * 2}}),
    ):
        path = folder / name
        if path.is_file():
            content = json.loads(path.read_text(encoding="utf-8"))
            path.write_text(json.dumps(content | values), encoding="utf-8")


class Consenting(io.StringIO):
    """Somebody at a terminal who says yes to everything."""

    def isatty(self) -> bool:
        return True


WAYS = [way for way in itertools.product(VERBS, ROLES) if way not in NO_SUCH_WAY and way[0] != "publish"]


@pytest.mark.parametrize(
    ("verb", "role", "stdin"),
    [
        (verb, role, stdin)
        for verb, role in WAYS
        for stdin in ("closed", "empty", "consenting")
        if stdin == "consenting" or role in ("teacher", "base")
    ],
)
def test_a_folder_with_code_is_refused(
    cli, world: World, tmp_path: Path, verb: str, role: str, stdin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = world.folders["teacher" if role in ("base", "adapter") else role]
    folder, ran = Path(shutil.copytree(good, tmp_path / "model")), tmp_path / "ran"
    with_code(folder, ran)
    if role == "adapter":
        folder = world.adapter_on(folder, tmp_path / "adapter")
    given = Consenting("yes\n" * 50 if stdin == "consenting" else "")
    if stdin == "closed":
        given.close()
    monkeypatch.setattr(sys, "stdin", given)
    seen = observe(cli, verb, role, folder, world, tmp_path)
    assert seen.code == 2 and seen.errors and not ran.exists()
    assert stdin == "closed" or given.tell() == 0, "nobody asks"
    assert "trust_remote_code" not in seen.errors[0], "there is no such flag"


def test_the_fault_is_one_of_transformers(tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the argument is left out, the code runs as soon as standard input says yes."""
    from transformers import AutoConfig

    folder, ran = Path(shutil.copytree(world.folders["teacher"], tmp_path / "model")), tmp_path / "ran"
    with_code(folder, ran)
    monkeypatch.setattr(sys, "stdin", Consenting("yes\n"))
    monkeypatch.setattr("builtins.input", lambda *_: "yes")
    with pytest.raises(Exception):
        AutoConfig.from_pretrained(folder)
    assert ran.exists()
