"""transformers networks: from a config and from a local folder; their record needs neither hub nor folder."""

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

from prunery.data import Spec
from prunery.errors import PruneryError
from prunery.registry import registry
from prunery.sizes import sizes

SPEC = Spec("text", (16,), 5, 90)
TINY = {
    "model_type": "bert",
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}


def model(**settings):
    return registry().configured("model", "hf", settings)


def tokens():
    drawn = torch.randint(1, 90, (4, 16), generator=torch.Generator().manual_seed(0))
    drawn[1, 6:] = 0
    return drawn


@pytest.fixture
def folder(tmp_path):
    config = BertConfig(**{k: v for k, v in TINY.items() if k != "model_type"}, vocab_size=100, num_labels=3)
    BertForSequenceClassification(config).save_pretrained(tmp_path)
    return tmp_path


def test_bert_base_with_ten_labels_has_the_published_count():
    with torch.device("meta"):
        network = model(config={"model_type": "bert"}).build(Spec("text", (512,), 10, 30522))
    assert sum(p.numel() for p in network.parameters()) == 109_489_930
    assert sum(p.numel() for p in network.bert.encoder.layer[0].parameters()) == 7_087_872


def test_the_data_decide_classes_vocabulary_and_positions():
    network = model(config=TINY).create(SPEC)
    assert network.bert.embeddings.word_embeddings.weight.shape == (90, 32)
    assert network.bert.embeddings.position_embeddings.weight.shape == (16, 32)
    assert network(tokens()).shape == (4, 5)
    layers = 16 * (4 * 32 * 32 + 2 * 32 * 64)
    assert sizes(network, SPEC)["macs"] == 2 * layers + 32 * 32 + 32 * 5


def test_what_the_user_gives_stands():
    network = model(config={**TINY, "vocab_size": 120, "max_position_embeddings": 64}).create(SPEC)
    assert network.bert.embeddings.word_embeddings.weight.shape == (120, 32)
    assert network.bert.embeddings.position_embeddings.weight.shape == (64, 32)


def test_padding_does_not_change_the_answer():
    network, padded = model(config=TINY).create(SPEC).eval(), tokens()
    torch.testing.assert_close(network(padded)[1], network(padded[1:2, :6])[0])


def test_dropout_is_off_unless_asked_for():
    def rates(**settings):
        modules = model(**settings).create(SPEC).modules()
        return {layer.p for layer in modules if isinstance(layer, torch.nn.Dropout)}

    assert rates(config=TINY) == {0.0}
    assert rates(config=TINY, dropout=0.3) == {0.3}
    assert rates(config={**TINY, "hidden_dropout_prob": 0.2}) == {0.0, 0.2}


@pytest.mark.parametrize("pretrained", [False, True])
def test_the_record_rebuilds_without_the_folder(folder, pretrained):
    architecture = model(name=str(folder), pretrained=pretrained)
    assert architecture.files() == [folder / "config.json"] + [folder / "model.safetensors"] * pretrained
    network = architecture.create(SPEC).eval()
    assert len(network.bert.embeddings.word_embeddings.weight) == (100 if pretrained else 90)
    name, settings = architecture.origin()
    for path in folder.iterdir():
        path.unlink()
    rebuilt = registry().configured("model", name, settings).build(SPEC).eval()
    rebuilt.load_state_dict(network.state_dict(), strict=True)
    assert torch.equal(rebuilt(tokens()), network(tokens()))
    assert [m.p for m in rebuilt.modules() if isinstance(m, torch.nn.Dropout)] == [
        m.p for m in network.modules() if isinstance(m, torch.nn.Dropout)
    ]


def test_pretrained_values_are_taken_under_their_own_keys(folder):
    stored = BertForSequenceClassification.from_pretrained(folder).state_dict()
    network = model(name=str(folder), pretrained=True).create(SPEC)
    assert list(network.state_dict()) == list(stored)
    same = [key for key, value in network.state_dict().items() if torch.equal(value, stored[key])]
    assert set(stored) - set(same) == {"classifier.weight", "classifier.bias"}


def test_attention_implementations_agree():
    eager, sdpa = (model(config=TINY, attention=kind).create(SPEC).eval() for kind in ("eager", "sdpa"))
    eager.load_state_dict(sdpa.state_dict())
    torch.testing.assert_close(eager(tokens()), sdpa(tokens()))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"config": {"hidden_size": 8}}, "config with model_type"),
        ({"pretrained": True}, "pretrained wants name"),
        ({"config": {"model_type": "brt"}}, "unknown model_type 'brt': did you mean 'bert'"),
        ({"config": {**TINY, "hiden_size": 8}}, "unknown field of bert 'hiden_size': did you mean 'hidden_size'"),
        ({"config": {**TINY, "hidden_size": "x"}}, "Field 'hidden_size' expected int"),
        ({"config": {**TINY, "num_attention_heads": 7}}, "not a multiple of the number of attention heads"),
        ({"config": {**TINY, "max_position_embeddings": 8}}, "max_position_embeddings is 8, the data want 16"),
    ],
)
def test_mistakes_are_named(settings, said):
    with pytest.raises(PruneryError, match=said):
        model(**settings).create(SPEC)


def test_images_are_refused():
    with pytest.raises(PruneryError, match="wants texts"):
        model(config=TINY).build(Spec("image", (1, 8, 8), 10))
