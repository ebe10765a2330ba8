"""A run's folder: its options in config.json, beside the code, versions and machine that made it."""

import dataclasses
import hashlib
import time
from pathlib import Path

from jaxrl.agents.options import RunConfig, of_json, option
from jaxrl.nearest import unknown
from jaxrl.shell import cli, metrics, program, provenance
from jaxrl.shell.checkpoint import steps_in
from jaxrl.shell.files import TEMPORARIES, json_text, read_json, write_json
from jaxrl.shell.lock import OWNER
from jaxrl.shell.metrics import EVALUATION, METRICS
from jaxrl.shell.sinks import FAULTS

CONFIG = "config.json"
NOT_OPTIONS = ("algorithm", "form", "made_with", "digest")  # in config.json
PLACES = ("run_dir", "resume")
MEETING = {"coordinator": None, "host_id": None, "local_processes": 1}  # of today, and not saved
BEFORE_THE_FIRST_CHECKPOINT = (CONFIG, METRICS, EVALUATION, "curve.png", FAULTS, "events.out.*", OWNER, TEMPORARIES)
FORM = 2  # of the checkpoints; 1, which has no mark, held emulators and memories that nothing read again
PACKAGES = ("flax", "optax", "envpool", "ale-py", "gymnasium")


def read_config(run_dir) -> dict:
    """What config.json holds: the options that a run was started with, and what is in `NOT_OPTIONS`.

    Raises: ValueError, with the file, when the folder is not that of a run or the file is damaged.
    """
    path = Path(run_dir) / CONFIG
    try:
        return read_json(path)
    except (FileNotFoundError, NotADirectoryError):
        raise ValueError(f"{run_dir or '.'} is not the folder of a run: it has no {CONFIG}.") from None


def place(config: RunConfig) -> Path:
    """The run's folder, whether it is there or not."""
    name = f"{config.algorithm}_{config.env}_{config.protocol}_{config.seed}_{time.strftime('%Y%m%d-%H%M%S')}"
    return config.resume or config.run_dir or Path("runs") / name.replace("/", "-").replace(":", "-")


def of_seeds(config: RunConfig, run_dir: Path) -> list[RunConfig]:
    """The runs in the folder of a run of several seeds: the options of each, whether it is there already or not.

    Raises: ValueError, with the file, for one that is there and cannot be resumed.
    """
    runs = []
    for seed in range(config.seed, config.seed + config.num_seeds):
        part = run_dir / f"seed_{seed}"
        run = dataclasses.replace(config, seed=seed, num_seeds=1, run_dir=part, resume=None)
        if config.resume and (part / CONFIG).exists():
            saved = to_resume(type(config), part)
            run = dataclasses.replace(saved, **{name: getattr(config, name) for name in config.may_change})
        runs.append(run)
    return runs


def new_run(config: RunConfig) -> Path:
    """Make the run's folder with its config.json; one that was stopped before its first checkpoint begins anew.

    Raises: ValueError when it holds another run, or something else.
    """
    run_dir = place(config)
    run_dir.mkdir(parents=True, exist_ok=True)
    if any(run_dir.iterdir()):
        if not _is_unbegun(config, run_dir):
            raise ValueError(
                f"the run folder {run_dir} exists; resume with --resume {run_dir}, or give another --run-dir."
            )
        _clear(run_dir)
    made = {"algorithm": config.algorithm, "form": FORM, "made_with": [_made_with()]}
    options = dataclasses.asdict(config) | MEETING
    write_json(run_dir / CONFIG, options | made | {"digest": _digest(type(config), options)})
    return run_dir


def _is_unbegun(config: RunConfig, run_dir: Path) -> bool:
    """Whether a folder is that of the same run, which was stopped before it had anything to resume."""
    try:
        saved = saved_config(type(config), run_dir)
        here = dataclasses.replace(config, run_dir=None, resume=None, **MEETING)
        same = here == dataclasses.replace(saved, resume=None)
        return same and _never_saved(saved)
    except ValueError:
        return False


def _never_saved(config: RunConfig) -> bool:
    """Whether the run to resume was stopped before its first checkpoint was there; the row of that comes before it."""
    if config.num_seeds > 1:
        parts = [part for part in config.resume.glob("seed_*") if part.is_dir()]
        return all(_never_saved(saved_config(type(config), part)) for part in parts)
    path = config.resume / METRICS
    table = metrics.read(path)
    steps = metrics.numbers(table, "agent_steps", path) if table else []
    due = sum(step >= config.checkpoint_every for step in steps)
    return not steps_in(config.resume / "checkpoints") and due <= 1


def _clear(run_dir: Path):
    """Remove what a run wrote before its first checkpoint."""
    for name in BEFORE_THE_FIRST_CHECKPOINT:
        for path in run_dir.glob(name):
            path.unlink()


def refuse_lost_checkpoints(config: RunConfig):
    """Raise ValueError for a run to resume whose checkpoints are not there any more."""
    if not steps_in(config.resume / "checkpoints") and not _never_saved(config):
        raise ValueError(f"{config.resume} has no checkpoint to resume from, though its rows go on after the first.")


def threads_of(config: RunConfig) -> int | None:
    """With how many cores a run to resume was begun: with as many threads it goes on to the bit, on any number."""
    cores = made_with(config.resume).get("cores") if config.resume else None
    return cores if isinstance(cores, int) and cores > 0 else None


def made_with(run_dir, number: int = 0) -> dict:
    """Which code, versions and machine a run was begun with, or resumed with; empty where it does not say."""
    found = read_config(run_dir).get("made_with")
    return found[number] if isinstance(found, list) and found and isinstance(found[number], dict) else {}


def other_conditions(config: RunConfig) -> str | None:
    """A line on what differs from when the run to resume was last trained, or None."""
    differing = provenance.differing(made_with(config.resume, -1), _made_with())
    if not differing:
        return None
    return f"the run goes on under other conditions, and so perhaps not to the bit: {'; '.join(differing)}"


def record_resume(config: RunConfig) -> Path:
    """Write down with which options, code and machine a run is resumed, the other options being as they were."""
    saved = read_config(config.resume)
    changed = {name: getattr(config, name) for name in config.may_change}
    saved["made_with"] = [*saved.get("made_with", []), _made_with()]
    write_json(config.resume / CONFIG, saved | changed)
    return config.resume


def _made_with() -> dict:
    started = {"started": time.strftime("%Y-%m-%d %H:%M:%S")}
    return started | provenance.measured_on(*PACKAGES) | provenance.conditions()


def _digest(config_type: type[RunConfig], options: dict) -> str:
    """Of the options that are fixed when a run has begun, as config.json has them."""
    fixed = {name: value for name, value in options.items() if name not in {*config_type.may_change, *PLACES, *MEETING}}
    return hashlib.sha256(json_text(dict(sorted(fixed.items()))).encode()).hexdigest()[:16]


def saved_config(config_type: type[RunConfig], run_dir) -> RunConfig:
    """The options of a run that exists, of whatever form its checkpoints are.

    Raises: ValueError, with the file, when the folder is not that of a run of this algorithm, or an option in it is
      unknown, of another type, or missing though it was there when the run began. One that is newer than the run has
      its default.
    """
    saved, path = read_config(run_dir), Path(run_dir) / CONFIG
    if saved.get("algorithm") != config_type.algorithm:
        raise ValueError(f"{run_dir} is not the folder of a run of {config_type.algorithm}.")
    options = {name: value for name, value in saved.items() if name not in NOT_OPTIONS}
    names = {field.name for field in dataclasses.fields(config_type)}
    for name in sorted(options.keys() - names):
        raise ValueError(f"{path} is damaged: {unknown('option', name, names)}")
    as_it_began = saved.get("digest") == _digest(config_type, options)  # what it lacks came into being later
    missing = names - options.keys() if saved.get("form") == FORM else set()
    for name in sorted(missing.intersection(config_type.may_change) if as_it_began else missing):
        raise ValueError(f"{path} is damaged: the option {name!r} is missing.")
    try:
        options = {name: of_json(config_type, name, value) for name, value in options.items()}
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from None
    return config_type(**options | {"run_dir": None, "resume": Path(run_dir)})


def algorithm_of(run_dir, known) -> str:
    """The name of the algorithm that made a run.

    Raises: ValueError when the folder is not that of a run, or its algorithm is not one of those known.
    """
    name = read_config(run_dir).get("algorithm")
    if not isinstance(name, str) or name not in known:
        raise ValueError(f"{Path(run_dir) / CONFIG} is damaged: {unknown('algorithm', name, known)}")
    return name


def refuse_older_form(run_dir):
    """Raise ValueError for a run whose checkpoints this version cannot resume."""
    form = read_config(run_dir).get("form", 1)
    if form != FORM:
        raise ValueError(
            f"{run_dir} was made by another version of jaxrl, whose checkpoints have form {form} and not {FORM}: it "
            f"cannot be resumed, but it can be scored with: {program.called('evaluate')} {run_dir}."
        )


def refuse_edited(config_type: type[RunConfig], run_dir):
    """Raise ValueError for a run whose config.json has other fixed options than it was started with."""
    saved = read_config(run_dir)
    options = {name: value for name, value in saved.items() if name not in NOT_OPTIONS}
    if "digest" in saved and saved["digest"] != _digest(config_type, options):
        raise ValueError(
            f"{Path(run_dir) / CONFIG} was edited: an option is not as it was when the run began, and only "
            f"{', '.join(map(option, config_type.may_change))} can change, on the command line."
        )


def config_to_resume(config_type: type[RunConfig], arguments) -> RunConfig | None:
    """The saved options when the command line says --resume; what may then change is in `may_change`.

    Raises: ValueError for another option beside --resume, or a folder that cannot be resumed.
    """
    run_dir = cli.value_of("--resume", arguments)
    if run_dir is None:
        return None
    fixed = {field.name for field in dataclasses.fields(config_type)} - {"resume", *config_type.may_change, *MEETING}
    for argument in arguments:
        name = argument.partition("=")[0].removeprefix("--").removeprefix("no-").replace("-", "_")
        if argument.startswith("--") and name in fixed:
            raise ValueError(
                f"{option(name)} cannot change when a run is resumed; with --resume only "
                f"{', '.join(map(option, config_type.may_change))} can be given."
            )
    return to_resume(config_type, run_dir)


def to_resume(config_type: type[RunConfig], run_dir) -> RunConfig:
    """The saved options of a run that goes on.

    Raises: ValueError where it cannot.
    """
    config = saved_config(config_type, run_dir)
    refuse_older_form(run_dir)
    refuse_edited(config_type, run_dir)
    return config
