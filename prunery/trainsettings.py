"""The settings that every training recipe has. Importing this module imports no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from prunery.contract import Settings


class TrainingSettings(Settings):
    """How networks are trained: optimizer, schedule, stopping, batches, augmentation, precision."""

    optimizer: Literal["adam", "adamw", "sgd"] = Field("adam", description="adam, adamw or sgd")
    learning_rate: float = Field(1e-3, gt=0, description="peak learning rate, per step")
    momentum: float = Field(0.9, ge=0, lt=1, description="momentum of sgd")
    nesterov: bool = Field(False, description="Nesterov momentum (sgd)")
    weight_decay: float = Field(0.0, ge=0, description="L2 penalty (adam, sgd) or decoupled decay (adamw)")
    l1_penalty: float = Field(
        0.0, ge=0, description="L1 penalty: its factor, times the sign of each weight, joins the gradient unclipped"
    )
    decay_vectors: bool = Field(
        True,
        description="whether biases, norms, class tokens and positions (parameters of one axis, or of three with a "
        "leading one) decay and are penalised too",
    )
    schedule: Literal["constant", "cosine", "linear", "step"] = Field(
        "constant",
        description="rate after the warm-up: constant, cosine or linear to final_rate (per step), or step (per epoch)",
    )
    final_rate: float = Field(
        0.0, ge=0, le=1, description="share of learning_rate at which schedules cosine and linear end"
    )
    warmup_steps: int = Field(0, ge=0, description="optimizer steps over which the rate rises linearly from 0")
    step_epochs: int = Field(10, ge=1, description="epochs between two drops of schedule step")
    step_factor: float = Field(0.1, gt=0, le=1, description="factor of each drop of schedule step")
    clip_norm: float | None = Field(None, gt=0, description="largest L2 norm of a replica's gradient; null = no limit")
    epochs: int = Field(20, ge=0, description="most passes over the training split")
    patience: int | None = Field(
        None,
        ge=1,
        description="epochs without a lower validation loss after which a replica stops and takes its best weights; "
        "null = all epochs, the last weights",
    )
    batch_size: int = Field(100, ge=1, description="samples per step")
    drop_last: bool = Field(False, description="leave out the incomplete last batch of an epoch")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="share of the target spread evenly over the classes")
    crop_padding: int = Field(0, ge=0, description="pixels of zero padding before a random crop to size (images)")
    horizontal_flip: bool = Field(False, description="mirror half of the samples, drawn anew each epoch (images)")
    precision: Literal["fp32", "bf16"] = Field(
        "fp32", description="bf16 computes in mixed precision where the device has it, else in fp32"
    )
    seed_offset: int = Field(
        0, ge=0, description="another order of the data and other augmentation, same first weights"
    )
