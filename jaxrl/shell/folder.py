"""A run's folder: its options in config.json, beside the code, versions and machine that made it."""

import dataclasses
import json
import time
from pathlib import Path

from jaxrl.agents.options import RunConfig, option
from jaxrl.nearest import unknown
from jaxrl.shell import cli, provenance
from jaxrl.shell.files import write_json

CONFIG = "config.json"
FORM = 2  # of the checkpoints; 1, which has no mark, held emulators and memories that nothing read again
PACKAGES = ("flax", "optax", "envpool", "ale-py", "gymnasium")


def read_config(run_dir) -> dict:
    """What config.json holds: the options that a run was started with, and `algorithm`, `form` and `made_with`.

    Raises: ValueError when the folder is not that of a run.
    """
    path = Path(run_dir) / CONFIG
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise ValueError(f"{run_dir} is not the folder of a run: it has no {CONFIG}.") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is damaged: {error}.") from None


def new_run(config: RunConfig) -> Path:
    """Make the run's folder with its config.json.

    Raises: ValueError when it exists.
    """
    name = f"{config.algorithm}_{config.env}_{config.protocol}_{config.seed}_{time.strftime('%Y%m%d-%H%M%S')}"
    run_dir = config.run_dir or Path("runs") / name.replace("/", "-").replace(":", "-")
    if run_dir.exists():
        raise ValueError(f"the run folder {run_dir} exists; resume with --resume {run_dir}, or give another --run-dir.")
    run_dir.mkdir(parents=True)
    made = {"algorithm": config.algorithm, "form": FORM, "made_with": [_made_with()]}
    write_json(run_dir / CONFIG, dataclasses.asdict(config) | made)
    return run_dir


def record_resume(config: RunConfig) -> Path:
    """Write down with which options, code and machine a run is resumed, the other options being as they were."""
    saved = read_config(config.resume)
    changed = {name: getattr(config, name) for name in config.may_change}
    saved["made_with"] = [*saved.get("made_with", []), _made_with()]
    write_json(config.resume / CONFIG, saved | changed)
    return config.resume


def _made_with() -> dict:
    return {"started": time.strftime("%Y-%m-%d %H:%M:%S"), **provenance.measured_on(*PACKAGES)}


def saved_config(config_type: type[RunConfig], run_dir) -> RunConfig:
    """The options of a run that exists, of whatever form its checkpoints are.

    Raises: ValueError when the folder is not that of a run of this algorithm.
    """
    saved = read_config(run_dir)
    if saved.pop("algorithm", None) != config_type.algorithm:
        raise ValueError(f"{run_dir} is not the folder of a run of {config_type.algorithm}.")
    options = {name: value for name, value in saved.items() if name not in ("form", "made_with")}
    unread = options.keys() - {field.name for field in dataclasses.fields(config_type)}
    if unread:
        raise ValueError(f"{Path(run_dir) / CONFIG} is damaged: there is no option {min(unread)!r}.")
    options = {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}
    return config_type(**options | {"run_dir": None, "resume": Path(run_dir)})


def algorithm_of(run_dir, known) -> str:
    """The name of the algorithm that made a run.

    Raises: ValueError when the folder is not that of a run, or its algorithm is not one of those known.
    """
    name = read_config(run_dir).get("algorithm")
    if name not in known:
        raise ValueError(f"{Path(run_dir) / CONFIG} is damaged: {unknown('algorithm', name, known)}")
    return name


def refuse_older_form(run_dir):
    """Raise ValueError for a run whose checkpoints this version cannot resume."""
    form = read_config(run_dir).get("form", 1)
    if form != FORM:
        raise ValueError(
            f"{run_dir} was made by another version of jaxrl, whose checkpoints have form {form} and not {FORM}: it "
            f"cannot be resumed, but experiments/evaluate.py can score it."
        )


def config_to_resume(config_type: type[RunConfig], arguments) -> RunConfig | None:
    """The saved options when the command line says --resume; what may then change is in `may_change`.

    Raises: ValueError for another option beside --resume, or a folder that cannot be resumed.
    """
    run_dir = cli.value_of("--resume", arguments)
    if run_dir is None:
        return None
    fixed = {field.name for field in dataclasses.fields(config_type)} - {"resume", *config_type.may_change}
    for argument in arguments:
        name = argument.partition("=")[0].removeprefix("--").removeprefix("no-").replace("-", "_")
        if argument.startswith("--") and name in fixed:
            raise ValueError(
                f"{option(name)} cannot change when a run is resumed; with --resume only "
                f"{', '.join(map(option, config_type.may_change))} can be given."
            )
    config = saved_config(config_type, run_dir)
    refuse_older_form(run_dir)
    return config
