"""Loading weights such that nothing is new but what the caller named, and nothing in the files is left out unseen.

transformers draws at random whatever it does not find, and says so in a table that nobody reads when many models are
loaded. Here the table is an error, with names and shapes.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel
from transformers.initialization import no_init_weights

from zskd.errors import InputError
from zskd.models.folder_files import WHOLE, check_folder
from zskd.models.labels import read_model_config
from zskd.models.reading import reading
from zskd.models.sizes import check_sizes, most_parameters
from zskd.system.yaml_text import brief

SHOWN = 4  # names in a message
SPARE = 5 * 10**7  # parameters that a model may have beyond its files: a new head, a pooler

# What torch.compile, data parallelism, FSDP and Lightning put into names, between dots.
_WRAPPER = r"(?<![^.])(?:(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|_forward_module|module)\.)+"
_WRAPPED = re.compile(_WRAPPER)
# transformers replaces the first match of a pattern only, and a name may have one at every level.
_UNWRAP = {f"{_WRAPPER}(?#{i})": "" for i in range(8)}
_FORMER = ("LayerNorm.gamma", "LayerNorm.beta")  # as the first versions of transformers called them

# Weights of the base model that classifiers do without, and what older versions saved as weights though it is none.
_SPARE = re.compile(
    r"(^|\.)(pooler|position_ids|token_type_ids|inv_freq|masked_bias|attn\.bias|num_batches_tracked|version|_weight)(\.|$)"
)
# Heads of pretraining, which a classifier leaves behind, and weights of a loss.
_PRETRAINING = re.compile(
    r"^(cls|lm_head|lm_loss|lm_predictions|mask_predictions|predictions|sop_classifier|qa_outputs|generator_predictions|"
    r"generator_lm_head|discriminator_predictions|vocab_transform|vocab_layer_norm|vocab_projector|mlm_head|nsp_head|"
    r"decoder|head|final_logits_bias|criterion|\w*loss\w*|class_weights?)(\.|$)"
)
# A layer of some base model.
_LAYER = re.compile(r"\.(layers?|h|blocks?)\.\d+\.")

_KINDS = {
    "ForSequenceClassification": "a fine-tuned sequence classifier",
    "ForMaskedLM": "a masked language model",
}


def load_checked(
    kind: Any, origin_name: str, *, flag: str, new_head: bool = False, **options: Any
) -> tuple[PreTrainedModel, list[str]]:
    """Load a model in float32, and refuse it if its files do not hold exactly its weights.

    Names that a wrapper has lengthened (``_orig_mod.``, ``module.``, FSDP's, at any level) are taken for what they
    were.

    Args:
        kind: an Auto class or model class of transformers.
        origin_name: folder or Hub id.
        flag: how messages name the model.
        new_head: whether all that stands outside of the base model may be missing or have another shape, and with it
            the base model's pooler, which masked language models lack; it is then drawn at random.
        options: more arguments for ``from_pretrained``.

    Returns:
        The model in evaluation mode, and the names of the weights that are new.

    Raises:
        InputError: the files do not load, lack other weights, have some of another shape, or have weights that this
            model has no place for.
    """
    shown = f"{flag} {origin_name}"
    adapter = f"{shown}: expected a whole model, found an adapter; merge it into its base and save that"
    if (Path(origin_name) / "adapter_config.json").is_file():
        raise InputError(adapter)
    folder = Path(origin_name)
    if "config" not in options:
        read_config(origin_name, flag=flag, **options)
        options["config"] = load_config(origin_name, flag=flag, **options)
    if folder.is_dir():
        files = check_folder(folder, flag=flag, weights=_weights_of(options["config"], shown))
        _check_readable(files, shown)
        _check_scale(kind, options["config"], files, shown)
    options |= {"dtype": torch.float32, "weights_only": True}
    options |= {"ignore_mismatched_sizes": True, "output_loading_info": True}
    with reading(shown):
        model, info = kind.from_pretrained(origin_name, trust_remote_code=False, **options)
    if wrapped := [name for name in info["unexpected_keys"] if _WRAPPED.search(name)]:
        _check_twice(model, info, wrapped, shown)
        with reading(shown):
            model, info = kind.from_pretrained(origin_name, key_mapping=_UNWRAP, trust_remote_code=False, **options)
    if getattr(model, "_hf_peft_config_loaded", False):
        raise InputError(adapter)
    model.config.return_dict = True  # a folder that says otherwise would answer with tuples
    # transformers would put them in again when the model is saved.
    model._weight_conversions = [
        found
        for found in getattr(model, "_weight_conversions", None) or ()
        if not {*found._original_source_patterns} & {*_UNWRAP, *_FORMER}
    ]
    shapes = {name: (tuple(found), tuple(wanted)) for name, found, wanted in info["mismatched_keys"]}
    new = sorted({*info["missing_keys"], *shapes})
    if wrong := [name for name in new if not (new_head and _may_be_new(model, name))]:
        raise InputError(_wrong_weights(model, shown, wrong, shapes, new_head))
    if spare := _misplaced(model, info["unexpected_keys"], strict=not new_head):
        raise InputError(
            f"{shown}: expected the weights of a {type(model).__name__} as its config.json describes it, found "
            f"{listed(spare)} besides; name the model that was saved, or correct config.json"
        )
    return model.eval(), new


def read_config(name: str, *, flag: str, **arguments: Any) -> dict[str, Any]:
    """Content of the ``config.json`` of a folder or Hub id, its files and sizes checked before anything is built.

    Args:
        arguments: further ones for ``from_pretrained``, such as the revision.

    Raises:
        InputError: it cannot be read, or its sizes fit no model.
    """
    if Path(name).is_dir():
        return read_model_config(Path(name), flag=flag)
    with reading(f"{flag} {name}"):
        found, _ = PreTrainedConfig.get_config_dict(name, **arguments)
    check_sizes(found, f"{flag} {name}")
    return dict(found)


def _weights_of(config: PreTrainedConfig, shown: str) -> tuple[str, ...]:
    """Names under which transformers looks for weights in a folder; a configuration may name another file."""
    name = getattr(config, "transformers_weights", None)
    if name is None:
        return WHOLE
    if not isinstance(name, str) or Path(name).name != name:
        raise InputError(f"{shown}: expected a file in its folder as transformers_weights, found {brief(name)}")
    return (name,)


def _check_readable(files: list[Path], shown: str) -> None:
    """Refuse weights that may not be read; transformers says that they are not there."""
    for path in files:
        if not os.access(path, os.R_OK, effective_ids=os.access in os.supports_effective_ids):
            raise InputError(f"{shown}: expected files that can be read, found no permission to read {path.name}")


def load_config(name: str, *, flag: str, **arguments: Any) -> PreTrainedConfig:
    """The configuration of a folder or Hub id, which `read_config` has looked at.

    Raises:
        InputError: transformers does not know the family, or refuses a value.
    """
    with reading(f"{flag} {name}"):
        found: PreTrainedConfig = AutoConfig.from_pretrained(name, trust_remote_code=False, **arguments)
    return found


def _check_scale(kind: Any, config: PreTrainedConfig, paths: list[Path], shown: str) -> None:
    """Refuse a configuration of a model that is much larger than its files, before it takes memory.

    What is missing or has another shape is made by transformers at the size that the configuration says.
    """
    files = sum(path.stat().st_size for path in paths)
    room = 2 * files + SPARE  # parameters; a file has a byte for each at least, but for 4 bits
    if most_parameters(config.to_dict()) <= room:
        return
    with reading(shown), torch.device("meta"), no_init_weights():
        model = kind.from_config(config, trust_remote_code=False)
        count = sum(weight.numel() for weight in (*model.parameters(), *model.buffers()))
    if count > room:
        raise InputError(
            f"{shown}: expected a config.json that describes its weights, found one of {count:,} parameters beside "
            f"files of {files:,} bytes; correct the sizes in config.json"
        )


def listed(names: Iterable[str]) -> str:
    """The first names, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def unwrapped(name: str) -> str:
    """A weight's name without what a wrapper has put into it."""
    return _WRAPPED.sub("", name)


def outside_base(model: PreTrainedModel, name: str) -> bool:
    """Whether a weight belongs to the head; a model that is its own base has none."""
    prefix = model.base_model_prefix
    return bool(prefix) and hasattr(model, prefix) and not name.startswith(f"{prefix}.")


def _may_be_new(model: PreTrainedModel, name: str) -> bool:
    return outside_base(model, name) or name.startswith(f"{model.base_model_prefix}.pooler.")


def _check_twice(model: PreTrainedModel, info: dict[str, Any], wrapped: list[str], shown: str) -> None:
    """Refuse files that hold a weight under two names, of which one could be an average or an older one."""
    names = Counter(unwrapped(name) for name in wrapped)
    found = {name for name, _ in model.named_parameters()} - {*info["missing_keys"]}
    if twice := sorted(name for name, count in names.items() if name in found or count > 1):
        raise InputError(f"{shown}: expected every weight once, found two of {listed(twice)}; keep one in the files")


def _misplaced(model: PreTrainedModel, unexpected: Iterable[str], *, strict: bool) -> list[str]:
    """Weights in the files that say that they are of another model.

    Those are weights that the base model lacks, layers of another base and, if `strict`, all of a head that is none of
    pretraining.
    """
    prefix = f"{model.base_model_prefix}."
    # A file of a base model alone has its names without the prefix.
    inside = {name for name, _ in model.base_model.named_children()}
    found = []
    for name in sorted(unexpected):
        if _SPARE.search(name):
            continue
        child = name.removeprefix(prefix).partition(".")[0]
        own = child in inside or (strict and name.startswith(prefix))
        if own or (not _PRETRAINING.match(name) and (strict or _LAYER.search(name))):
            found.append(name)
    return found


def _wrong_weights(
    model: PreTrainedModel, shown: str, wrong: list[str], shapes: dict[str, tuple[Any, Any]], new_head: bool
) -> str:
    kind = type(model).__name__
    what = next((words for end, words in _KINDS.items() if kind.endswith(end)), "a model")
    what += f" ({kind}), of which only the head may be new" if new_head else f" ({kind}) with all its weights"
    found = []
    if other := [f"{name} {shapes[name][0]} instead of {shapes[name][1]}" for name in wrong if name in shapes]:
        found.append(listed(other))
    wanted = {name: tuple(weight.shape) for name, weight in model.state_dict().items()}
    if missing := [f"{name} {wanted.get(name, '')}".strip() for name in wrong if name not in shapes]:
        found.append(f"no {listed(missing)}")
    advice = "name a model that was saved whole" if missing else "correct config.json, or name another model"
    return f"{shown}: expected {what}, found {'; '.join(found)}; {advice}"
