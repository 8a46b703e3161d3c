from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gen_searcher.metrics.report.lines import TurnText
from gen_searcher.metrics.report.pictures import PictureTable
from gen_searcher.metrics.report.read import read_entries
from gen_searcher.metrics.report.texts import Texts
from gen_searcher.metrics.report.view import REPLY_CHARS, AttemptView, Place, attempt_view
from gen_searcher.types import FoundImage, Outcome, ToolResult
from tests.metrics.report.conftest import REPLY, flag

if TYPE_CHECKING:
    from gen_searcher.metrics.report.lines import AttemptLine

    from .conftest import FixtureRun


def view(run: FixtureRun, line: AttemptLine, texts: Texts | None = None) -> AttemptView:
    (entry,) = read_entries(run.lines("grpo/attempts.jsonl", [line]), notes=[])
    place = Place(arm="GRPO", is_training=True, entry=entry)
    return attempt_view(line, place=place, pictures=PictureTable(run.store), texts=texts or Texts())


def test_a_turn_is_read_into_thought_call_and_observation(run: FixtureRun) -> None:
    made = view(run, run.line("Poland"))
    first, second, last = made.turns
    assert (first.thought, first.call_name, first.words) == ("Find the capital first.", "search", "")
    assert '"element discovered 1898 Curie"' in first.call_arguments
    assert (first.prompt_tokens, first.sampled_tokens, first.mean_logprob, first.versions) == (20, 4, -0.25, "3-4")
    assert second.result is not None
    assert [(one.img_id, one.is_chosen) for one in second.result.images] == [
        ("IMG_001", True),
        ("IMG_002", False),
        ("IMG_003", False),
        ("IMG_004", False),
    ]
    assert '"img_id": "IMG_001"' in last.answer
    assert last.words == ""
    assert last.result is None


def test_a_malformed_turn_keeps_its_words(run: FixtureRun) -> None:
    made = view(run, run.line("Poland", outcome=Outcome.MALFORMED))
    assert made.outcome == "malformed"
    assert made.turns[-1].words == "Here is your picture {{ gen_prompt"
    assert (made.picture, made.gen_prompt, made.references) == ("", "", ())


def test_the_view_holds_pictures_judges_and_advantage(run: FixtureRun) -> None:
    line = run.line("Poland", score=0.75, advantage=0.5)
    made = view(run, line)
    assert line.attempt is not None
    assert line.attempt.image is not None
    assert line.task.target is not None
    assert (made.picture, made.target) == (line.attempt.image.sha256[:16], line.task.target.sha256[:16])
    assert (made.reward, made.advantage) == (0.75, 0.5)
    assert made.judgements[0].parts["text_accuracy"] is None
    assert made.facts == ("subject: Flag of Poland", "layout: alone", "caption: WARSAW")


def test_a_lost_try_says_where_and_why(run: FixtureRun) -> None:
    made = view(run, run.lost("Poland", step=3, group="g", seed=11))
    assert made.lost == "generate: GeneratorError: the actor died (out of memory)"
    assert (made.outcome, made.reward, made.turns, made.seed) == ("lost", None, (), 11)


def test_sampled_text_is_apart_from_the_text_it_read(run: FixtureRun) -> None:
    texts = Texts()
    first = view(run, run.line("Poland"), texts).turns[0]
    assert "".join(texts.all[index] for index in first.prompt).endswith("<|im_start|>assistant\n")
    assert first.completion.startswith("<think>Find the capital first.</think>")
    assert first.completion.endswith("</tool_call><|im_end|>")


def test_a_shared_system_prompt_is_held_once(run: FixtureRun) -> None:
    texts = Texts()
    first = view(run, run.line("Poland"), texts).turns[0].prompt
    second = view(run, run.line("France"), texts).turns[0].prompt
    assert first[0] == second[0]
    assert first[1] != second[1]


def test_the_picture_of_a_first_answer_stands_beside_it_and_the_judged_one_at_the_head(run: FixtureRun) -> None:
    line = run.line("Poland")
    assert line.attempt is not None
    first = run.store.put(flag("Italy"))
    *earlier, last = line.attempt.trajectory.turns
    found = FoundImage(img_id="", title="your picture", url="", page_url="", image=first, view=first)
    answered = replace(last, result=ToolResult(text="your picture", images=(found,), cost_usd=0.04))
    trajectory = replace(line.attempt.trajectory, turns=(*earlier, answered, last))
    texts = (*line.texts, TurnText(prompt="", completion="<answer>keep</answer><|im_end|>"))
    pictures = PictureTable(run.store)
    (entry,) = read_entries(run.lines("grpo/attempts.jsonl", [line]), notes=[])
    place = Place(arm="GRPO", is_training=True, entry=entry)
    looked = replace(line, attempt=replace(line.attempt, trajectory=trajectory), texts=texts)
    made = attempt_view(looked, place=place, pictures=pictures, texts=Texts())
    shown = made.turns[-2].result
    assert shown is not None
    assert [(one.title, one.picture, one.is_chosen) for one in shown.images] == [
        ("your picture", pictures.key(first), False)
    ]
    assert made.picture != shown.images[0].picture
    assert (made.turns[-1].answer, made.turns[-1].result) == ("keep", None)


def test_a_judges_reply_is_shown_and_an_endless_one_is_cut(run: FixtureRun) -> None:
    line = run.line("Poland")
    assert line.attempt is not None
    image, text = line.attempt.judgements
    told = (replace(image, reply='{"score": 1}'), replace(text, reply="x" * (REPLY_CHARS + 7)))
    short, long = view(run, replace(line, attempt=replace(line.attempt, judgements=told))).judgements
    assert short.reply == '{"score": 1}'
    assert long.reply == "x" * REPLY_CHARS + "… [7 more characters not shown]"
    assert [one.reply for one in view(run, line).judgements] == [REPLY, ""]


def test_what_the_policy_wrote_later_is_held_against_what_it_read_before(run: FixtureRun) -> None:
    line = run.line("Poland")
    assert line.attempt is not None
    first, *others = line.attempt.trajectory.turns
    read = ToolResult(
        text="results for: capital\n1. Poland | http://a.web/p\nThe capital is Warsaw. It lies on the Vistula.",
        sources=("http://a.web/p",),
    )
    trajectory = replace(line.attempt.trajectory, turns=(replace(first, result=read), *others))
    said = list(line.texts)
    for place, wanted in ((0, ()), (1, ("The capital is Warsaw.",)), (2, ("The capital is Warsaw.",))):
        words = replace(said[place], completion="<think>the capital is WARSAW, so</think>")
        texts = (*said[:place], words, *said[place + 1 :])
        made = view(run, replace(line, attempt=replace(line.attempt, trajectory=trajectory), texts=texts))
        result = made.turns[0].result
        assert result is not None
        assert result.repeated == wanted
