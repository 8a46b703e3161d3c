from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from gen_searcher.config.rewards import ChatServer
from gen_searcher.errors import JudgeInvalid
from gen_searcher.image_store import ImageStore
from gen_searcher.rewards.chat.data_judge import ChatDataJudge
from gen_searcher.testing.chat_server import ChatReply, ChatRequest, LocalChatServer, completion
from gen_searcher.types import Facts, Grounding, ImageRef, Judgement, Outcome, Task, Trajectory

SCORES = {"needs_search": 1, "correctness": 0.5, "faithfulness": 1, "aesthetics": 1, "legibility": None, "safety": 1}


async def judged(folder: Path, verdict: dict[str, object]) -> tuple[Judgement, ChatRequest]:
    store = ImageStore(folder)
    image: ImageRef = store.put(Image.new("RGB", (48, 32), "teal"))

    async def model(request: ChatRequest) -> ChatReply:
        return completion(json.dumps(verdict))

    task = Task(
        id="t",
        prompt="Draw </row> it.",
        target=None,
        facts=Facts(caption="Łódź", explanation="A boat."),
        meta={"category": "art"},
    )
    grounding = Grounding(gen_prompt="a boat that says Łódź", references=())
    trajectory = Trajectory(task_id="t", turns=(), outcome=Outcome.GROUNDED, grounding=grounding)
    async with LocalChatServer(model) as server:
        judge = ChatDataJudge(store=store, server=ChatServer(base_url=server.base_url, model="m", tries=1))
        try:
            judgement = await judge.judge(task, trajectory, image)
        finally:
            await judge.close()
        return judgement, server.requests[0]


async def test_it_shows_the_row_and_the_picture_and_gives_six_scores(tmp_path: Path) -> None:
    judgement, asked = await judged(tmp_path, {"rationale": "r", **SCORES})
    assert dict(judgement.parts) == SCORES
    assert (judgement.judge, judgement.score, judgement.rationale) == ("data", 0.5, "r")
    assert [picture.size for picture in asked.pictures] == [(48, 32)]
    told = json.loads(asked.text.split("<row>")[1].split("</row>")[0])
    assert (told["request"], told["answer"]["prompt"]) == ("Draw </row> it.", "a boat that says Łódź")
    assert (told["a right picture shows"], told["text it must carry"]) == ("A boat.", "Łódź")
    assert set(asked.body["response_format"]["json_schema"]["schema"]["required"]) == {"rationale", *SCORES}


@pytest.mark.parametrize("changed", [{"safety": 0.9}, {"safety": None}, {"extra": 1}])
async def test_what_is_off_the_scale_is_no_verdict(tmp_path: Path, changed: dict[str, object]) -> None:
    with pytest.raises(JudgeInvalid):
        await judged(tmp_path, {"rationale": "r", **SCORES, **changed})
