"""What pipelines run: the action's steps, the pre-commit hook and the GitLab job, each executed as it is written.

Nothing is fetched: pip finds the dependencies, hatchling among them, in the environment of the tests.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from fc2conv.errors import ExitCode
from fc2conv.report.types import SCHEMA_VERSION

ROOT = Path(__file__).parent.parent
SHELL = ["bash", "--noprofile", "--norc", "-eo", "pipefail"]  # what `shell: bash` is to a runner
EXPRESSION = re.compile(r"\$\{\{\s*([\w.-]+)\s*\}\}")
LIMIT = 300

pytestmark = [
    pytest.mark.skipif(shutil.which("bash") is None, reason="the steps are bash scripts, and there is no bash here"),
    pytest.mark.skipif(shutil.which("git") is None, reason="pre-commit needs git, and there is none here"),
]


@pytest.fixture(scope="session")
def offline(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The variables of a shell in which pip needs no index: all that is installed here but fc2conv is importable."""
    libraries = tmp_path_factory.mktemp("libraries")
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if not re.match(r"_?(fc2conv|pip|setuptools|distutils|__pycache__)|.*\.pth$", entry.name):
            (libraries / entry.name).symlink_to(entry)
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PIP_", "GITHUB_", "FC2CONV"))}
    return {
        **kept,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": str(libraries),
        "PIP_NO_INDEX": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # pip reads this as --no-build-isolation
        "PIP_NO_COMPILE": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_CONFIG_FILE": os.devnull,
    }


def shell(script: str, folder: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    path = folder / ".script.sh"
    path.write_text(script, encoding="utf-8")
    command = [*SHELL, str(path)]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=LIMIT, check=False)


# --- the action -----------------------------------------------------------------------------------------------------


@dataclass
class Runner:
    """A composite action as a runner runs it: expressions substituted, each step a bash script, files for its words."""

    temp: Path
    workspace: Path
    env: dict[str, str]
    action: dict[str, Any]

    def run(self, **inputs: str) -> tuple[dict[str, str], str, subprocess.CompletedProcess[str]]:
        """The action's outputs, its summary, and the last step."""
        defaults = {name: str(each.get("default", "")) for name, each in self.action["inputs"].items()}
        known = {f"inputs.{name}": value for name, value in {**defaults, **inputs}.items()}
        known["github.action_path"] = str(ROOT)
        summary, steps = self.temp / "summary.md", self.action["runs"]["steps"]
        if (self.temp / "fc2conv").exists():  # the first run has done the step that installs
            steps = steps[1:]
        summary.write_text("# before\n", encoding="utf-8")
        for step in steps:
            output = self.temp / "output"
            output.write_text("", encoding="utf-8")
            env = {**self.env, **{name: self._filled(text, known) for name, text in step.get("env", {}).items()}}
            env |= {"GITHUB_OUTPUT": str(output), "GITHUB_STEP_SUMMARY": str(summary), "RUNNER_TEMP": str(self.temp)}
            done = shell(self._filled(step["run"], known), self.workspace, env)
            known |= {
                f"steps.{step.get('id', '')}.outputs.{name}": value
                for name, _, value in (line.partition("=") for line in output.read_text(encoding="utf-8").splitlines())
            }
            if done.returncode:
                break
        outputs = {name: self._filled(each["value"], known) for name, each in self.action["outputs"].items()}
        return outputs, summary.read_text(encoding="utf-8"), done

    @staticmethod
    def _filled(text: str, known: dict[str, str]) -> str:
        return EXPRESSION.sub(lambda found: known.get(found[1], ""), text)


@pytest.fixture(scope="module")
def runner_temp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runner")


@pytest.fixture
def runner(offline: dict[str, str], runner_temp: Path, tmp_path: Path) -> Runner:
    shutil.copy(ROOT / "fixtures" / "lenet.onnx", tmp_path)
    action = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
    return Runner(runner_temp, tmp_path, offline, action)


def test_the_action_converts_and_tells(runner: Runner) -> None:
    outputs, summary, done = runner.run(model="lenet.onnx", output="out/my model.onnx")
    assert done.returncode == ExitCode.OUTPUT  # there is no folder out/
    (runner.workspace / "out").mkdir()
    outputs, summary, done = runner.run(model="lenet.onnx", output="out/my model.onnx")
    assert done.returncode == 0, done.stderr
    written = (runner.workspace / "out" / "my model.onnx").read_bytes()
    assert outputs["converted"] == "3"
    assert outputs["sha256"] == hashlib.sha256(written).hexdigest()
    assert json.loads(Path(outputs["report"]).read_bytes())["schema_version"] == SCHEMA_VERSION
    assert summary.startswith("# before\n### `lenet.onnx -> out/my model.onnx`: 3 of 3 fully connected layers")
    assert "::notice file=lenet.onnx,title=fc2conv::" in done.stdout


def test_arguments_are_words_and_no_script(runner: Runner) -> None:
    args = "--require 2 --exclude 'fc2' --exclude \"[f$(touch pwned)]c2\" --exclude '[f`touch pwned`; touch pwned]c2'"
    outputs, summary, done = runner.run(model="lenet.onnx", output="$(touch pwned).onnx", args=args)
    assert done.returncode == 0, done.stderr
    assert outputs["converted"] == "2"
    assert {path.name for path in runner.workspace.iterdir()} == {".script.sh", "lenet.onnx", "$(touch pwned).onnx"}
    assert "FC302" in summary


def test_a_requirement_that_is_unmet_fails_with_a_summary(runner: Runner) -> None:
    outputs, summary, done = runner.run(model="lenet.onnx", output="out.onnx", args="--require 4")
    assert done.returncode == ExitCode.CHECK_FOUND
    assert "3 of 3 fully connected layers can be converted" in summary
    assert outputs["converted"] == "0"
    assert outputs["sha256"] == ""
    assert "::error title=fc2conv::3 of at least 4 layers can be converted" in done.stdout
    assert not (runner.workspace / "out.onnx").exists()


@pytest.mark.parametrize(("model", "args"), [("missing.onnx", ""), ("lenet.onnx", "'unbalanced"), ("--help", "")])
def test_what_makes_no_sense_fails(runner: Runner, model: str, args: str) -> None:
    outputs, summary, done = runner.run(model=model, output="out.onnx", args=args)
    assert done.returncode != 0
    assert summary == "# before\n"
    assert set(outputs.values()) == {""}


def test_the_action_is_what_github_takes() -> None:
    action = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
    assert set(action["inputs"]) == {"model", "output", "args"}
    assert set(action["outputs"]) == {"converted", "report", "sha256"}
    assert all(each["description"] for each in [*action["inputs"].values(), *action["outputs"].values()])
    assert action["runs"]["using"] == "composite"
    for step in action["runs"]["steps"]:
        assert step["shell"] == "bash"
        assert "${{" not in step["run"], "an expression in a script is a way to inject one"


# --- pre-commit -----------------------------------------------------------------------------------------------------


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    command = ["git", *identity, "-C", str(folder), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=True).stdout.strip()


def hook_repository(folder: Path) -> tuple[Path, str]:
    """What a hook is installed from, as a repository of its own, and its commit."""
    folder.mkdir()
    for name in (".pre-commit-hooks.yaml", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "fc2conv", folder / "fc2conv", ignore=shutil.ignore_patterns("__pycache__"))
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "all")
    return folder, git(folder, "rev-parse", "HEAD")


def test_the_hook_installed_and_run(offline: dict[str, str], tmp_path: Path) -> None:
    """In a repository with two models of which one can be converted, before and after that is done."""
    source, commit = hook_repository(tmp_path / "fc2conv")
    hook = {"repo": str(source), "rev": commit, "hooks": [{"id": "fc2conv-check"}]}
    project = tmp_path / "project"
    (project / "models").mkdir(parents=True)
    (project / ".pre-commit-config.yaml").write_text(yaml.safe_dump({"repos": [hook]}), encoding="utf-8")
    shutil.copy(ROOT / "fixtures" / "lenet.onnx", project / "models")
    (project / "notes.txt").write_text("no model")
    git(project, "init", "--quiet")
    git(project, "add", "--all")
    env = {
        **offline,
        "PRE_COMMIT_HOME": str(tmp_path / "home"),
        "VIRTUALENV_OVERRIDE_APP_DATA": str(tmp_path / "app-data"),
        "VIRTUALENV_NO_PERIODIC_UPDATE": "1",
    }
    command = [sys.executable, "-m", "pre_commit", "run", "--color", "never"]

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=project, env=env, capture_output=True, text=True, timeout=LIMIT, check=False)

    found = run()
    assert found.returncode == 1, found.stdout + found.stderr
    assert re.search(r"fc2conv check\.*Failed", found.stdout)
    assert "models/lenet.onnx: 3 of 3 fully connected layers can be converted" in found.stdout
    converted = [sys.executable, "-m", "fc2conv", "models/lenet.onnx", "models/lenet.onnx", "-q"]
    subprocess.run(converted, cwd=project, env={**env, "PYTHONPATH": str(ROOT)}, timeout=LIMIT, check=True)
    git(project, "add", "--all")
    done = run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"fc2conv check\.*Passed", done.stdout)
    git(project, "rm", "--quiet", "--cached", "models/lenet.onnx")
    assert re.search(r"fc2conv check\.*\(no files to check\)Skipped", run().stdout)


# --- GitLab ---------------------------------------------------------------------------------------------------------

KEYWORDS = {"stage", "image", "variables", "cache", "before_script", "script", "artifacts"}


def test_the_gitlab_job_runs(offline: dict[str, str], tmp_path: Path) -> None:
    jobs = yaml.safe_load((ROOT / "examples" / "ci" / "gitlab-ci.yml").read_text(encoding="utf-8"))
    (job,) = jobs.values()
    assert set(job) <= KEYWORDS
    assert all(isinstance(line, str) for line in [*job["before_script"], *job["script"]])
    (tmp_path / "models").mkdir()
    shutil.copy(ROOT / "fixtures" / "lenet.onnx", tmp_path / "models" / "model.onnx")
    given = {"CI_PROJECT_DIR": str(tmp_path), "FC2CONV": str(ROOT)}
    variables = {name: os.path.expandvars(str(value)) for name, value in job["variables"].items()}
    script = "\n".join([*job["before_script"], *job["script"]])
    done = shell(script, tmp_path, {**offline, **variables, **given})
    assert done.returncode == 0, done.stdout + done.stderr
    kept = {
        path.relative_to(tmp_path).as_posix()
        for folder in ("reports", "converted")
        for path in (tmp_path / folder).iterdir()
    }
    assert kept == {
        "reports/check.md",
        "reports/check.xml",
        "reports/certificate.json",
        "reports/convert.md",
        "converted/model.onnx",
    }
    assert {path.rstrip("/") for path in job["artifacts"]["paths"]} == {"reports", "converted"}
    junit = ElementTree.parse(tmp_path / job["artifacts"]["reports"]["junit"]).getroot()
    assert [case.get("name") for case in junit.iter("testcase")] == ["fc1", "fc2", "fc3"]
    assert "+ Conv" in done.stdout
