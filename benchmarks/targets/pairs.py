"""Writes what the judges compare: each model before and after a conversion for a target, both with fixed sizes.

    pairs.py --target dla OUT MODEL...

OUT gets NAME.before.onnx and NAME.after.onnx; where no layer is converted, the model before alone. Needs fc2conv; the
judges need it not. The conversions are not proved: the judges run both models and compare.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import fc2conv


def main() -> None:
    """Write the pairs, and say of each how many layers became convolutions."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", required=True)
    parser.add_argument("--scope", choices=["spatial", "all"], default="all")
    parser.add_argument("out", type=Path)
    parser.add_argument("models", type=Path, nargs="+")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for model in arguments.models:
        before, after = (arguments.out / f"{model.stem}.{which}.onnx" for which in ("before", "after"))
        try:
            fc2conv.convert(model, before, fc2conv.Options(static=1, layer_form="keep", verify=False))
            options = fc2conv.Options(static=1, target=arguments.target, scope=arguments.scope, verify=False)
            report = fc2conv.convert(model, after, options).report
        except fc2conv.errors.Fc2convError as error:
            print(f"{model.stem}: {error}")
            continue
        if not report.converted:
            after.unlink()
        print(f"{model.stem}: {len(report.converted)} of {len(report.layers)} layers, {report.forms}")


if __name__ == "__main__":
    main()
