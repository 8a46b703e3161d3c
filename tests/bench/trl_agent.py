"""trl's GRPO trainer on the tasks, tools and policy of a run of ours: when did each of its steps end?

    python -m tests.bench.trl_agent --policy FOLDER --run DIR --steps N --out FILE [--vllm] SETTING...

Runs in a Python that can import trl. Its policy is the language model of ours with its weights, tokenizer and chat format
(a Qwen3: trl takes no tools beside pictures without a processor of its own), its prompts are those of our first groups, and
its tools are our toolbox behind the same slow web. It reads what ours reads but for the pictures. Its reward is the length
of the last turn: it neither draws nor judges.
"""

# pyright: reportMissingImports=false, reportUnknownVariableType=false, reportUnknownMemberType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false, reportMissingTypeArgument=false
# (trl is an optional extra)

from __future__ import annotations

import argparse
import itertools
import json
import logging
import time
import warnings
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from gen_searcher.agent.gallery import Gallery
from gen_searcher.agent.prompt import system_prompt
from gen_searcher.cluster.actors.tool import ToolSpec, build_toolbox
from gen_searcher.config import load
from gen_searcher.config.root import RunConfig
from gen_searcher.data.tasks import load_tasks
from gen_searcher.engines.qwen_forward import Qwen3VLForConditionalGeneration
from gen_searcher.image_store import ImageStore
from gen_searcher.tools.arguments import find_mistake
from gen_searcher.tools.calling import LocalAuthority
from gen_searcher.tools.guard import Address
from gen_searcher.tools.limits import Accounts
from gen_searcher.tools.toolbox import Toolbox
from gen_searcher.train.tasks import shuffled_forever
from gen_searcher.types import ToolCall
from gen_searcher.world.adversity import adverse_world
from gen_searcher.world.server import EmbeddedServer
from gen_searcher.world.world import DOMAIN

TEMPLATE = """\
{%- for message in messages -%}
  {{- '<|im_start|>' + ('user' if message.role == 'tool' else message.role) + '\\n' -}}
  {%- if message.role == 'tool' -%}{{- '<tool_response>\\n' -}}{%- endif -%}
  {{- message.content -}}
  {%- for call in message.tool_calls or [] -%}
    {{- '<tool_call>' + (call.function | tojson) + '</tool_call>' -}}
  {%- endfor -%}
  {%- if message.role == 'tool' -%}{{- '\\n</tool_response>' -}}{%- endif -%}
  {{- '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}
"""
"""Our chat format, with calls in it: trl takes no template that leaves them out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrlStep:
    """One of its steps."""

    at_s: float
    """When it ended, from the start of the first one."""
    tools_s: float
    """Spent waiting for tools."""
    calls: int
    tokens: float
    """Of a completion, what the tools said included."""


@dataclass(slots=True, kw_only=True)
class Web:
    """The toolbox that all environments share, opened on trl's own event loop, and how long it was waited for."""

    open_toolbox: Callable[[], Awaitable[Toolbox]]
    toolbox: Toolbox | None = None
    waited_s: float = 0.0
    calls: int = 0

    async def call(self, call: ToolCall) -> tuple[str, Gallery]:
        """What our agent would be told, and the pictures that were found."""
        mistake = find_mistake(call)
        if mistake is not None:
            return f"error: {mistake}", Gallery()
        began_s = time.monotonic()
        if self.toolbox is None:
            self.toolbox = await self.open_toolbox()
        result = await self.toolbox.call(call, trajectory_id="trl:0")
        self.waited_s += time.monotonic() - began_s
        self.calls += 1
        return result.text, Gallery().admit(result.images)


def opener(cfg: RunConfig, store: Path) -> Callable[[], Awaitable[Toolbox]]:
    """Builds the toolbox of a tool worker of ours, without the cluster."""

    async def opened() -> Toolbox:
        web = adverse_world(cfg.search.adversity)
        address = await EmbeddedServer(web.world, service=web.service).start()
        spec = ToolSpec(
            search=cfg.search,
            tools=cfg.agent.tools,
            limits=cfg.limits,
            cassette=cfg.cassette,
            images=str(store),
            tape_folder=str(store / "tape"),
        )
        authority = LocalAuthority(Accounts(config=cfg.limits))
        hosts = {DOMAIN: Address(host=address.host, port=address.port)}
        return build_toolbox(spec, name="trl", authority=authority, hosts=hosts)

    return opened


def environment(web: Web) -> type:
    """What trl calls an environment: one instance a rollout, its public methods are the tools."""

    class Searches:
        def reset(self, **row: object) -> None:
            """A rollout begins."""
            del row
            self._gallery = Gallery()

        async def search(self, queries: list) -> str:
            """Search the web.

            Args:
                queries: what to look for
            """
            return await self._told(ToolCall(name="search", arguments={"queries": queries}))

        async def image_search(self, query: str) -> str:
            """Search for pictures.

            Args:
                query: what to look for
            """
            return await self._told(ToolCall(name="image_search", arguments={"query": query}))

        async def browse(self, url: str, query: str) -> str:
            """Read a page.

            Args:
                url: its address
                query: what to look for
            """
            return await self._told(ToolCall(name="browse", arguments={"url": url, "query": query}))

        async def _told(self, call: ToolCall) -> str:
            text, found = await web.call(call)
            self._gallery = self._gallery.admit(found.images)
            shown = self._gallery.named(found.images)
            return "\n".join([text, *(f"{image.title} is {image.img_id} " for image in shown)])

    return Searches


def text_model(folder: Path) -> Any:
    """The language model of a Qwen3-VL folder as a Qwen3. Raises AssertionError when the two do not say the same."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    both = Qwen3VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    told: Any = both.config.text_config
    own = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=told.vocab_size,
            hidden_size=told.hidden_size,
            intermediate_size=told.intermediate_size,
            num_hidden_layers=told.num_hidden_layers,
            num_attention_heads=told.num_attention_heads,
            num_key_value_heads=told.num_key_value_heads,
            head_dim=told.head_dim,
            max_position_embeddings=told.max_position_embeddings,
            tie_word_embeddings=both.config.tie_word_embeddings,
            rms_norm_eps=told.rms_norm_eps,
            rope_parameters={"rope_type": "default", "rope_theta": told.rope_parameters["rope_theta"]},
            bos_token_id=None,
            eos_token_id=told.eos_token_id,
            pad_token_id=told.pad_token_id,
        )
    )
    weights = {f"model.{name}": value for name, value in both.model.language_model.state_dict().items()}
    weights["lm_head.weight"] = both.lm_head.weight.data
    own.load_state_dict(weights, strict=True)
    own.generation_config.eos_token_id = both.generation_config.eos_token_id
    own.generation_config.pad_token_id = both.generation_config.pad_token_id
    ids = torch.arange(3, 200)[None]
    with torch.no_grad():
        torch.testing.assert_close(own(input_ids=ids).logits, both(input_ids=ids).logits, atol=1e-4, rtol=1e-4)
    return own


def prompts(cfg: RunConfig, run: Path, *, count: int) -> list[list[dict[str, str]]]:
    """The conversations with which our first groups begin."""
    tasks = load_tasks(run / "tasks" / "train.jsonl", ImageStore(run / "images"))
    system = {"role": "system", "content": system_prompt(cfg.agent)}
    order = itertools.islice(shuffled_forever(tasks, seed=cfg.seed), count)
    return [[system, {"role": "user", "content": task.prompt}] for task in order]


def train(cfg: RunConfig, *, policy: Path, run: Path, steps: int, out: Path, vllm: bool) -> None:
    """Let it make so many steps; `out` has those that it has made."""
    from datasets import Dataset
    from transformers import PreTrainedTokenizerFast, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer
    from trl.chat_template_utils import qwen3_template

    tokenizer = PreTrainedTokenizerFast.from_pretrained(policy)
    tokenizer.chat_template = TEMPLATE
    tokenizer.response_template = qwen3_template
    tokenizer.padding_side = "left"
    web = Web(open_toolbox=opener(cfg, run / "images"))
    marks: list[TrlStep] = []

    class Clock(TrainerCallback):
        def on_train_begin(self, *_: object, **__: object) -> None:
            self.began_s = time.monotonic()

        def on_step_end(self, *_: object, **__: object) -> None:
            lengths = trainer._metrics["train"]["completions/mean_length"]
            at_s = time.monotonic() - self.began_s
            marks.append(TrlStep(at_s=at_s, tools_s=web.waited_s, calls=web.calls, tokens=lengths[-1]))
            out.write_text(json.dumps([asdict(mark) for mark in marks]))

    scratch = out.with_suffix("")
    scratch.mkdir(parents=True, exist_ok=True)
    model: Any = text_model(policy)
    if vllm:
        model.save_pretrained(scratch / "text")
        tokenizer.save_pretrained(scratch / "text")
        model = str(scratch / "text")
    groups, size = cfg.grpo.groups_per_step, cfg.grpo.group_size
    args = GRPOConfig(
        output_dir=str(scratch),
        use_cpu=True,
        bf16=False,
        report_to=[],
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
        gradient_checkpointing=False,
        max_steps=steps,
        per_device_train_batch_size=groups * size,
        num_generations=size,
        shuffle_dataset=False,
        learning_rate=cfg.grpo.optim.lr,
        beta=0.0,
        temperature=cfg.agent.temperature,
        max_completion_length=cfg.agent.max_context_tokens - 256,
        generation_kwargs=None if vllm else {"max_new_tokens": cfg.agent.max_turn_tokens},
        max_tool_calling_iterations=cfg.agent.max_tool_calls,
        use_vllm=vllm,
        vllm_max_model_length=cfg.agent.max_context_tokens + 256,
        vllm_gpu_memory_utilization=0.05,
        seed=cfg.seed,
    )
    trainer = GRPOTrainer(
        model=model,
        args=args,
        processing_class=tokenizer,
        train_dataset=Dataset.from_list([{"prompt": one} for one in prompts(cfg, run, count=groups * steps)]),
        reward_funcs=_length,
        environment_factory=environment(web),
        callbacks=[Clock()],
    )
    trainer.train()


def _length(completions: Sequence[Sequence[dict[str, Any]]], **_: object) -> list[float]:
    return [len(str(said[-1].get("content", ""))) / 100.0 for said in completions]


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--policy", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--vllm", action="store_true")
    parser.add_argument("settings", nargs="*")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    logging.getLogger("transformers").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    cfg = load.load([*options.settings, f"run_dir={options.run}"])
    train(cfg, policy=options.policy, run=options.run, steps=options.steps, out=options.out, vllm=options.vllm)


if __name__ == "__main__":
    main()
