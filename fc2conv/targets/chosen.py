"""The profile that a conversion goes by: the target's, with what the caller's own options put in its place."""

from __future__ import annotations

import msgspec

from fc2conv.options import ConvRank, Options
from fc2conv.targets.lookup import find
from fc2conv.targets.profile import Convolutions, Flag, Form, Limit, Norm, Preferences, Profile

_RANKS: dict[int, ConvRank] = {3: "1d", 4: "2d"}


def profile_of(options: Options) -> Profile | None:
    """Return the profile of a conversion; None where neither a target nor a limit was asked for.

    An option replaces the profile's facts of its kind. Raise UsageError for an unknown target.
    """
    base = find(options.target) if options.target is not None else Profile(name="this conversion", title="")
    prefers, changed = preferences(options), dict[str, list[Limit]]()
    if (most := options.max_kernel) is not None:
        side = [Limit(most=most, source=f"--max-kernel {most}")]
        changed |= {"kernel_height": side, "kernel_width": side, "kernels": []}
    if (most := options.max_kernel_area) is not None:
        changed["kernel_area"] = [Limit(most=most, source=f"--max-kernel-area {most}")]
    changed |= {name: _channels(options, getattr(base.conv, name)) for name in ("input_channels", "output_channels")}
    if options.conv_rank == "2d":
        changed["rank"] = [Limit(allowed=[4], source="--conv-rank 2d")]
    conv = msgspec.structs.replace(base.conv, **changed)
    if options.target is None and conv == Convolutions() and not prefers.form:
        return None
    return msgspec.structs.replace(base, conv=conv, prefers=prefers)


def preferences(options: Options) -> Preferences:
    """Return what is to be preferred: the target's own preferences, replaced by those of the caller."""
    prefers = find(options.target).prefers if options.target is not None else Preferences()
    if options.layer_form != "auto":
        form = [Form(value=options.layer_form, source=f"--layer-form {options.layer_form}")]
        prefers = msgspec.structs.replace(prefers, form=form, tokens=[])
    if options.norms != "auto":
        prefers = msgspec.structs.replace(prefers, norms=[Norm(value=options.norms, source=f"--norms {options.norms}")])
    if options.qdq:
        prefers = msgspec.structs.replace(prefers, qdq=[Flag(value=True, source="--qdq")])
    return prefers


def _channels(options: Options, facts: list[Limit]) -> list[Limit]:
    """Return the limits of channels, with those of the options instead of the profile's most or its multiple."""
    most, multiple = options.max_channels, options.channel_multiple
    given = {**({} if most is None else {"most": None}), **({} if multiple is None else {"multiple": 1})}
    out = [msgspec.structs.replace(fact, **given) for fact in facts]
    out += [] if most is None else [Limit(most=most, source=f"--max-channels {most}")]
    out += [] if multiple is None else [Limit(multiple=multiple, source=f"--channel-multiple {multiple}")]
    return out


def conv_rank(options: Options, profile: Profile | None) -> ConvRank:
    """Return the rank of convolutions over tokens and vectors: the caller's, else what the profile prefers."""
    ranks = profile.prefers.conv_rank if profile is not None else []
    wanted = next((rank for limit in ranks for rank in limit.allowed if rank in _RANKS), None)
    return options.conv_rank if options.conv_rank != "auto" or wanted is None else _RANKS[wanted]
