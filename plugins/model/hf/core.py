"""Configs of transformers, and their networks reduced to one input and one output."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from torch import Tensor, nn
from transformers import CONFIG_MAPPING, AutoConfig, AutoModelForSequenceClassification, PreTrainedConfig

from prunery import PruneryError
from prunery.architectures import text_length
from prunery.errors import unknown

if TYPE_CHECKING:
    from prunery.data import Spec

T = TypeVar("T")
SIZES = ("vocab_size", "max_position_embeddings")
"""What the data decide unless the user or a pretrained network does."""
NOT_STRUCTURE = (
    "_name_or_path",
    "architectures",
    "dtype",
    "id2label",
    "label2id",
    "num_labels",
    "transformers_version",
)
"""Fields that say where a network came from or what its labels are called."""


def full_config(settings: Any, wanted: dict[str, Any]) -> dict[str, Any]:
    """Every field of the config, defaults included, so that later versions' other defaults change nothing.

    `wanted` are the fields that win over the published ones.
    Raises `PruneryError` if the name cannot be read, the kind of model or a field is unknown, or a value is refused.
    """
    published = _published(settings) if settings.name else {}
    kind = {**published, **wanted}["model_type"]
    given = _known(kind, wanted)
    full = _refusals(lambda: AutoConfig.for_model(**{**published, **given}).to_dict())
    rate = 0.0 if settings.dropout is None and not settings.pretrained else settings.dropout
    for field, value in full.items():
        if rate is not None and _is_dropout(field, value) and field not in given:
            full[field] = rate
    open_sizes = set() if settings.pretrained else {_aliases(kind).get(field, field) for field in SIZES} - set(given)
    return {field: value for field, value in full.items() if field not in NOT_STRUCTURE and field not in open_sizes}


def _published(settings: Any) -> dict[str, Any]:
    """The config that the hub or a local folder holds."""
    try:
        config: PreTrainedConfig = AutoConfig.from_pretrained(settings.name, revision=settings.revision or "main")
    except Exception as error:  # the library raises whatever its configs and the hub's client do
        raise PruneryError(
            f"model 'hf': no config from {settings.name} ({error}): connect, name a local folder, or give config"
        ) from error
    return {field: value for field, value in config.to_dict().items() if field not in NOT_STRUCTURE}


def _known(kind: str, given: dict[str, Any]) -> dict[str, Any]:
    """The user's fields under the names the config class stores them by; a misspelt one is refused, not ignored."""
    if kind not in CONFIG_MAPPING:
        raise PruneryError("model 'hf', setting config: " + unknown("model_type", kind, CONFIG_MAPPING.keys()))
    aliases, fields = _aliases(kind), CONFIG_MAPPING[kind]().to_dict()
    for field in given:
        if field not in fields and field not in aliases:
            raise PruneryError("model 'hf', setting config: " + unknown(f"field of {kind}", field, [*fields, *aliases]))
    return {aliases.get(field, field): value for field, value in given.items()}


def _aliases(kind: str) -> dict[str, str]:
    """Common name of a field -> the name that this kind of model stores it by."""
    return dict(CONFIG_MAPPING[kind].attribute_map)


def _refusals(make: Callable[[], T]) -> T:
    """What `make` returns; whatever transformers objects to, as one line."""
    try:
        return make()
    except PruneryError:
        raise
    except Exception as error:  # each class of config and network checks, and complains, in its own way
        raise PruneryError(f"model 'hf', setting config: {type(error).__name__}: {error}") from error


def _is_dropout(field: str, value: Any) -> bool:
    named = "dropout" in field or field.endswith("pdrop")
    return named and isinstance(value, int | float) and not isinstance(value, bool)


def config_for(fields: dict[str, Any], spec: Spec, attention: str) -> PreTrainedConfig:
    """The config for the data: classes, padding id 0, and vocabulary and positions where `fields` leave them open.

    Raises `PruneryError` if the vocabulary or the positions are too few for the data.
    """
    kind, length = fields["model_type"], text_length(spec, "hf")
    shift = 1 if "roberta" in kind else 0  # its positions are counted from the padding id + 1
    least = {"vocab_size": spec.vocabulary, "max_position_embeddings": length + shift}
    stored = {_aliases(kind).get(field, field): count for field, count in least.items()}
    for field, count in stored.items():
        if fields.get(field, count) < count:
            raise PruneryError(
                f"model 'hf': {field} is {fields[field]}, the data want {count}: raise it, or cut the data"
            )
    values = {**stored, **fields, "pad_token_id": 0, "num_labels": spec.classes}
    for token in ("bos_token_id", "eos_token_id"):  # of the vocabulary that the data replace
        if isinstance(values.get(token), int) and values[token] >= spec.vocabulary:
            values[token] = None
    config: PreTrainedConfig = AutoConfig.for_model(**values)
    config._attn_implementation = attention
    return config


def build(fields: dict[str, Any], spec: Spec, attention: str) -> nn.Module:
    """The classifier with fresh values. Raises `PruneryError` if transformers refuses the config."""
    make = AutoModelForSequenceClassification.from_config
    return as_network(_refusals(lambda: make(config_for(fields, spec, attention))))


def pretrained(settings: Any, fields: dict[str, Any], spec: Spec) -> nn.Module:
    """The classifier with the values that `settings.name` holds, its last layer fresh where it has other classes.

    Raises `PruneryError` if they cannot be had.
    """
    config = _refusals(lambda: config_for(fields, spec, settings.attention))
    chosen = {"revision": settings.revision or "main", "use_safetensors": True, "ignore_mismatched_sizes": True}
    try:
        network = AutoModelForSequenceClassification.from_pretrained(settings.name, config=config, **chosen)
    except Exception as error:  # as for configs
        remedy = "put model.safetensors there" if Path(settings.name).is_dir() else "connect, or name a local folder"
        raise PruneryError(f"model 'hf': no weights from {settings.name} ({error}): {remedy}") from error
    return as_network(network.float())


def as_network(classifier: nn.Module) -> nn.Module:
    """The same object, called with token ids and answering logits.

    Its class is swapped for a subclass rather than wrapped in a module, so that its keys stay transformers' own.
    """
    parent = type(classifier)

    def forward(self: nn.Module, tokens: Tensor) -> Tensor:
        return parent.forward(self, input_ids=tokens, attention_mask=(tokens != 0).long()).logits

    classifier.__class__ = type(parent.__name__, (parent,), {"forward": forward})
    return classifier
