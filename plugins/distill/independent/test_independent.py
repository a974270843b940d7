"""The control: bit for bit what fine-tuning with the same order of the data would give."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from prunery.distill import distill
from prunery.registry import registry
from prunery.toys import same_states, states, toy_checkpoint, toy_images, toy_registered


def test_the_loss_is_cross_entropy_alone():
    logits, labels = torch.randn(2, 6, 4), torch.randint(4, (2, 6))
    method = registry().configured("distill", "independent", {"teacher": "dense"})
    found = method.loss(logits, labels, None)
    assert torch.allclose(found, torch.stack([F.cross_entropy(*one) for one in zip(logits, labels, strict=True)]))


def test_a_teacher_has_no_part_in_it():
    method = registry().configured("distill", "independent", {"epochs": 2, "batch_size": 32})
    with toy_registered():
        runs = [
            distill(method, toy_checkpoint((0,)), teacher, toy_images(), lambda _: None)[0][0]
            for teacher in (None, toy_checkpoint((5,)))
        ]
    assert same_states(*(states(replica.network) for replica in runs))
