"""A pass of Olive that converts fully connected layers and proves the result.

Olive finds its passes in a file: `python -m fc2conv.integrations.olive > passes.json` writes it, and
`olive run --config workflow.json --package-config passes.json` runs a workflow with `{"type": "FcToConv"}`.
"""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

from fc2conv.api import convert
from fc2conv.options import Limits, Options, VerifyOptions

try:
    from olive.model import ONNXModelHandler
    from olive.model.utils import resolve_onnx_path
    from olive.package_config import OlivePackageConfig
    from olive.passes import Pass
    from olive.passes.pass_config import PassConfigParam
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("this pass needs Olive: pip install 'fc2conv[olive]'", name=error.name) from error

_NOT_HERE = {"verification", "limits", "sliding", "for_many", "hashes", "illustrate"}
_WITHIN = {VerifyOptions: ("seed", "check_n", "rtol", "atol"), Limits: ("timeout", "memory_limit")}


class FcToConv(Pass):
    """Convert the fully connected layers of an ONNX model to convolutions; the parameters are those of `Options`.

    The report lies beside the model, as `fc2conv.json`, and goes with it from pass to pass.
    """

    @classmethod
    def _default_config(cls, accelerator_spec: Any) -> dict[str, PassConfigParam]:  # noqa: ARG003
        kinds: dict[Any, Any] = {Options: [each.name for each in fields(Options) if each.name not in _NOT_HERE]}
        return {name: _parameter(kind, name) for kind, names in (kinds | _WITHIN).items() for name in names}

    def _run_for_config(self, model: Any, config: Any, output_model_path: str) -> ONNXModelHandler:
        output = Path(resolve_onnx_path(output_model_path, Path(model.model_path).name))
        given = {name: getattr(config, name) for name in self._default_config(None)}
        report = convert(model.model_path, output, hashes=True, **given).report
        proof = output.with_name("fc2conv.json")
        report.save(proof)
        known = model.model_attributes or {}
        files = [*(known.get("additional_files") or []), str(proof)]
        return ONNXModelHandler(
            model_path=str(output.parent),
            onnx_file_name=output.name,
            model_attributes={**known, "additional_files": sorted(set(files))},
        )


def _parameter(kind: Any, name: str) -> PassConfigParam:
    default = getattr(kind(), name)
    return PassConfigParam(
        type_=get_type_hints(kind)[name], default_value=default, description=f"{name} of fc2conv.{kind.__name__}"
    )


def package_config() -> dict[str, Any]:
    """Return Olive's own passes and this one, as `olive.run(workflow, package_config=...)` takes them."""
    found: dict[str, Any] = json.loads(Path(OlivePackageConfig.get_default_config_path()).read_text(encoding="utf-8"))
    found["passes"]["FcToConv"] = {
        "module_path": "fc2conv.integrations.olive.FcToConv",
        "supported_providers": ["*"],
        "supported_accelerators": ["*"],
        "supported_precisions": ["*"],
        "module_dependencies": ["fc2conv"],
    }
    return found


if __name__ == "__main__":
    print(json.dumps(package_config(), indent=1))
