"""Case 44: keys planted wherever keys can be turn up in nothing that a run leaves behind."""

from __future__ import annotations

import html
import json
import logging
import resource
import subprocess
import sys
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pytest
from aiohttp import web
from PIL import Image
from yarl import URL

from gen_searcher.agent.render import Renderer
from gen_searcher.cli import run
from gen_searcher.cluster.actors.generator import GeneratorActor
from gen_searcher.cluster.actors.reward import RewardActor
from gen_searcher.cluster.actors.tool import ToolSpec, build_toolbox
from gen_searcher.commands.trackers import open_trackers
from gen_searcher.config import load
from gen_searcher.config.agent import SearchConfig, ToolsConfig
from gen_searcher.config.cassette import CassetteConfig
from gen_searcher.config.plug import Plug
from gen_searcher.config.redaction import guard_process
from gen_searcher.config.root import RunConfig
from gen_searcher.config.secrets import HIDDEN
from gen_searcher.errors import JudgeError, WorldError
from gen_searcher.image_store import ImageStore
from gen_searcher.ledger.book import Ledger
from gen_searcher.metrics.report import write_report
from gen_searcher.testing.chat_server import ChatReply, ChatRequest, LocalChatServer, completion, problem
from gen_searcher.testing.toy_training import NoRival
from gen_searcher.tools.calling import LocalAuthority
from gen_searcher.tools.limited import close
from gen_searcher.tools.limits import Accounts
from gen_searcher.train.run import AttemptLog, MetricLog, RunFolder, TurnReader
from gen_searcher.train.step_log import StepLog
from gen_searcher.types import Grounding, Group, ImageRef, Judgement, Outcome, StepReport, Task, Trajectory
from tests.engines.hosted_services import serving
from tests.faults import web as outside

pytestmark = pytest.mark.fault(44)

FROM_ENVIRONMENT = 'canary/env+4f1c="9d'
"""With letters that JSON and addresses spell otherwise."""
FROM_FILE = "canary-file-77ab02"
UNREFERENCED = "canary-of-the-machine-5531"
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LEAKY_SETTING", FROM_ENVIRONMENT)
    monkeypatch.setenv("SOMEBODYS_API_KEY", UNREFERENCED)
    path = tmp_path / "outside" / "key"
    path.parent.mkdir()
    path.write_text(FROM_FILE + "\n")
    return path


@pytest.fixture
def logged(tmp_path: Path) -> Iterator[Path]:
    """What a run writes to its standard error."""
    path = tmp_path / "run" / "stderr.txt"
    path.parent.mkdir()
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    root, factory = logging.getLogger(), logging.getLogRecordFactory()
    root.addHandler(handler)
    guard_process()
    yield path
    root.removeHandler(handler)
    handler.close()
    logging.setLogRecordFactory(factory)


def spellings(value: str) -> set[str]:
    spelled = {value, json.dumps(value)[1:-1], repr(value)[1:-1], html.escape(value)}
    return spelled | {quote(value, safe=""), quote(value), URL("//a/").with_query(k=value).raw_query_string[2:]}


def holding(text: str) -> list[str]:
    """The canaries in a text, however spelled."""
    planted = (FROM_ENVIRONMENT, FROM_FILE, UNREFERENCED)
    return sorted({value for value in planted for spelling in spellings(value) if spelling in text})


def everything(root: Path) -> dict[str, str]:
    """All files of a run by name; what the ledger has squeezed is unpacked."""
    found = {
        str(path.relative_to(root)): path.read_bytes().decode(errors="replace")
        for path in root.rglob("*")
        if path.is_file() and path.suffix != ".png"
    }
    with closing(Ledger.open(root / "grpo" / "ledger.sqlite", fence=NoRival())) as ledger:
        bodies = [row[0] for row in ledger._db.execute("SELECT payload FROM members") if row[0] is not None]
        found["payloads"] = "\n".join(zlib.decompress(body).decode() for body in bodies)
        found["events"] = "\n".join(row[0] for row in ledger._db.execute("SELECT text FROM events"))
    return found


def leaky(name: str, key: str, way: str) -> Plug:
    return Plug.model_validate({"_target_": f"tests.faults.leaky.{name}", "key": key, "way": way})


def config(run_dir: Path, key: Path, *, search: str, generator: str, judge: str) -> RunConfig:
    """A run of careless classes, half of them with the key from the environment, half with that from the file."""
    by_name = "env:LEAKY_SETTING"
    found = leaky("LeakySearch", by_name, search)
    return load.load(["experiment=smoke", f"run_dir={run_dir}"]).model_copy(
        update={
            "search": SearchConfig(search=found, images=found),
            "generator": leaky("LeakyModel", f"file:{key}", generator),
            "judges": {"text": leaky("LeakyJudge", by_name, judge)},
            "trackers": {"theirs": leaky("LeakyTracker", f"file:{key}", "in a chain")},
            "cassette": CassetteConfig(mode="auto"),
        }
    )


class FromActor:
    """The actor's own object as what its pool would be."""

    name = "text"

    def __init__(self, judge: RewardActor, generator: GeneratorActor) -> None:
        self._judge, self._generator = judge, generator

    async def judge(self, task: Task, trajectory: Trajectory, image: ImageRef | None) -> Judgement:
        try:
            return await self._judge.judge("text", task, trajectory, image)
        except RuntimeError as error:  # what the pool makes of a stranger's error
            raise WorldError(repr(error), "judge") from error

    async def generate(self, grounding: Grounding, *, seed: int) -> ImageRef:
        return await self._generator.generate(grounding, seed)


async def played(cfg: RunConfig, folder: RunFolder) -> Group:
    """A group by the run's own parts, written down by the run's own books."""
    tape = str(folder.cassette)
    limits = outside.limits()
    spec = ToolSpec(
        search=cfg.search, tools=ToolsConfig(), limits=limits, cassette=cfg.cassette,
        images=str(folder.images), tape_folder=tape,
    )  # fmt: skip
    toolbox = build_toolbox(spec, name="w", authority=LocalAuthority(Accounts(config=limits)), hosts={})
    parts = FromActor(
        RewardActor(cfg.judges, str(folder.images), cfg.cassette, tape),
        GeneratorActor(cfg.generator, str(folder.images), cfg.cassette, tape),
    )
    try:
        group = await outside.group(
            folder.root,
            toolbox,
            [outside.call("search", queries=["q"])],
            generator=parts,
            judges=[parts],
            alpha=1.0,
            size=4,
            tries=1,
        )
    finally:
        await toolbox.close()
    return group


def book(cfg: RunConfig, folder: RunFolder, group: Group) -> None:
    load.write(cfg, command="grpo")
    with closing(Ledger.open(folder.ledger, fence=NoRival())) as ledger:
        ledger.issue(0, group.task.id, version=0)
        for lost in group.lost:
            ledger.note("lost", lost.error, visit=0)
        ledger.score(group)
    with closing(AttemptLog(folder.attempts, read=TurnReader(Renderer.over_bytes().text))) as lines:
        lines.record(group, step=1, group_id="t-0", advantages=[None] * len(group.attempts))
    with closing(MetricLog(folder.metrics)) as metrics, closing(open_trackers(cfg, stage="grpo")) as trackers:
        metrics.log(1, {"reward/mean": 0.5})
        trackers.log(1, {"reward/mean": 0.5})
    with closing(StepLog(folder, config=load.dump_yaml(cfg))) as steps:
        steps.record(1, [group], StepReport(loss=0.0, grad_norm=0.0, metrics={}))
    write_report(folder.root)


@pytest.mark.parametrize(
    ("search", "generator", "judge", "stage"),
    [
        ("answers", "answers", "answers", None),
        ("in a chain", "answers", "answers", "crash"),
        ("in the library's objects", "answers", "answers", "tool"),
        ("answers", "in a chain", "answers", "generate"),
        ("answers", "in the library's objects", "answers", "generate"),
        ("answers", "answers", "in a chain", "judge"),
        ("answers", "answers", "in the library's objects", "judge"),
    ],
)
async def test_nothing_that_a_run_leaves_holds_a_key_however_careless_its_parts_are(
    tmp_path: Path, keys: Path, logged: Path, search: str, generator: str, judge: str, stage: str | None
) -> None:
    cfg = config(tmp_path / "run", keys, search=search, generator=generator, judge=judge)
    folder = RunFolder(root=cfg.run_dir)
    if stage == "crash":
        with pytest.raises(Exception) as caught:  # noqa: PT011  whatever leaves the tool worker
            await played(cfg, folder)
        assert holding(f"{caught.value!r} {caught.getrepr()}") == []
        assert HIDDEN in str(caught.value)
        return
    group = await played(cfg, folder)
    assert len(group.attempts) + len(group.lost) == 4
    if stage is None:
        assert HIDDEN in json.dumps([str(attempt) for attempt in group.attempts])
        assert any(attempt.judgements for attempt in group.attempts)
    else:
        assert any(HIDDEN in lost.error for lost in group.lost if lost.stage == stage)
    book(cfg, folder, group)
    found = everything(cfg.run_dir)
    assert {name: holding(text) for name, text in found.items() if holding(text)} == {}
    found["cassette"] = "".join(text for name, text in found.items() if name.startswith("cassette/"))
    for name in ("stderr.txt", "grpo/attempts.jsonl", "report.html", *(["cassette"] if stage != "tool" else [])):
        assert HIDDEN in found[name], f"{name} was to have held a key"
    assert "env:LEAKY_SETTING" in found["config/grpo.yaml"]


async def echo(request: ChatRequest) -> ChatReply:
    """A judge's server that repeats the header, in a verdict or in an error, as the request says."""
    sent = request.authorization
    if "break" in request.text:
        return problem(400, code="bad_request", message=f"you sent {sent}")
    return completion(json.dumps({"rationale": f"You sent {sent}.", "score": 0.75}), model=f"m {sent}")


async def test_a_judge_that_repeats_its_key_is_not_believed_to_the_letter(tmp_path: Path, keys: Path) -> None:
    store = ImageStore(tmp_path / "images")
    task = Task(id="t", prompt="draw", target=store.put(Image.new("RGB", (32, 32))), meta={})
    async with LocalChatServer(echo) as server:
        plug = Plug.model_validate(
            {
                "_target_": "gen_searcher.rewards.chat.text_judge.ChatTextJudge",
                "server": {"base_url": server.base_url, "model": "m", "key": f"file:{keys}", "tries": 1},
            }
        )
        actor = RewardActor({"text": plug}, str(store.root), CassetteConfig(mode="auto"), str(tmp_path / "tape"))
        for gen_prompt in ("a flag", "break it"):
            trajectory = Trajectory(
                task_id="t",
                turns=(),
                outcome=Outcome.GROUNDED,
                grounding=Grounding(gen_prompt=gen_prompt, references=()),
            )
            try:
                said = repr(await actor.judge("text", task, trajectory, None))
            except JudgeError as error:
                said = f"{error!r} {error} {error.message} {error.__cause__!r} {error.__context__!r}"
            assert holding(said) == []
            assert HIDDEN in said
        await actor._judges["text"].close()
        assert [request.authorization for request in server.requests] == [f"Bearer {FROM_FILE}"] * 2
    for path in (tmp_path / "tape").rglob("*"):
        assert path.is_dir() or holding(path.read_bytes().decode(errors="replace")) == []


@pytest.mark.parametrize("status", [200, 400, 401, 402, 404, 429, 500])
async def test_an_image_service_that_repeats_its_key_is_quoted_without_it(
    tmp_path: Path, keys: Path, status: int
) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.json_response({"error": {"message": f"bad key {request.headers['Authorization']}"}}, status=status)

    async with serving("/v1/{path:.*}", answer) as root:
        plug = Plug.model_validate(
            {
                "_target_": "gen_searcher.engines.hosted.openai_images.OpenAIImages",
                "base_url": f"{root}/v1",
                "model": "m",
                "key": f"file:{keys}",
            }
        )
        actor = GeneratorActor(plug, str(tmp_path / "images"), CassetteConfig(), str(tmp_path / "tape"))
        actor._generator._pause = no_pause
        with pytest.raises(Exception) as caught:  # noqa: PT011  each status has its own
            await actor.generate(Grounding(gen_prompt="a flag", references=()), 1)
        await close(actor._generator._model)
    assert holding(f"{caught.value!r} {caught.getrepr()}") == []


async def no_pause(seconds: float) -> None:
    del seconds


def test_a_class_that_cannot_be_built_does_not_tell_why_in_full(keys: Path, logged: Path) -> None:
    with pytest.raises(RuntimeError) as caught:
        leaky("CannotBeBuilt", f"file:{keys}", "in a chain").build()
    assert holding(f"{caught.value!r} {caught.getrepr()}") == []
    assert holding(logged.read_text()) == []
    assert HIDDEN in logged.read_text()


CRASH = """
import os, resource, sys
from gen_searcher.config.plug import Plug
plug = Plug.model_validate({"_target_": "tests.faults.leaky.CannotBeBuilt", "key": "env:LEAKY_SETTING"})
try:
    plug.build()
except RuntimeError:
    pass
sys.stdout.write(str(resource.getrlimit(resource.RLIMIT_CORE)[0]))
sys.stdout.flush()
raise ValueError(os.environ["LEAKY_SETTING"])
"""


def test_a_crash_tells_no_key_and_leaves_no_core(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_CORE)
    done = subprocess.run(
        ["env", f"PYTHONPATH={ROOT}", sys.executable, "-c", CRASH],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (before[1], before[1])),
    )
    assert done.returncode == 1
    assert done.stdout == "0"
    assert f"ValueError: {HIDDEN}" in done.stderr
    assert holding(done.stderr) == []


def test_a_key_in_the_settings_is_refused_before_anything_is_written(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run_dir = f"run_dir={tmp_path / 'run'}"
    settings = {
        "grpo": f"search.search.base_url='http://u:{FROM_FILE}@searx.test/'",
        "doctor": f"+judges.text.api_key={FROM_FILE}",
        "report": f"+trackers.theirs={{_target_: a.B, headers: {{Authorization: 'Bearer {FROM_FILE}'}}}}",
    }
    for command, setting in settings.items():
        assert run([command, "experiment=smoke", "search=searxng", run_dir, setting]) == 2
        captured = capsys.readouterr()
        assert holding(captured.out + captured.err) == []
        assert "holds a key or a password itself; write env:NAME or file:/path" in captured.err
    assert not (tmp_path / "run").exists()


def test_the_settings_are_shown_with_references(capsys: pytest.CaptureFixture[str], keys: Path) -> None:
    assert run(["grpo", "experiment=smoke", "search=serper", f"search.search.key='file:{keys}'", "--cfg"]) == 0
    shown = capsys.readouterr().out
    assert f"file:{keys}" in shown
    assert holding(shown) == []
