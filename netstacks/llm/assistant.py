"""The one way from a user's question to a model's answer: permitted, redacted, asked, restored and accounted for."""

import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from netstacks.llm.answer import Answer
from netstacks.llm.conversation import Block, ChatRequest, Message, Piece, Text, ToolResult
from netstacks.llm.directory import Directory
from netstacks.llm.failures import Incomplete, NotConfigured
from netstacks.llm.fencing import Fence
from netstacks.llm.orchestrator import Orchestrator
from netstacks.llm.outcomes import Answering, Attempt, Hint, OnAttempt, Seam
from netstacks.llm.placeholders import restored
from netstacks.llm.provider import Provider
from netstacks.llm.redaction import Redactor


@dataclass(frozen=True)
class Asker:
    """The user who asks. `name` and `address` are for the audit log."""

    user_id: UUID
    name: str
    role: str
    address: str | None


@dataclass(frozen=True)
class Question:
    """What is asked, by which user, from which feature (`purpose`) and about which session, if about one.

    Of an answer that `is_kept`, which other users will read, the placeholders stay in the places of the secrets. A
    question that `is_background` is one that a page asks by itself, which takes no place of what its user asks.
    """

    request: ChatRequest
    asker: Asker
    purpose: str
    session_id: UUID | None = None
    is_kept: bool = False
    is_background: bool = False


@dataclass(frozen=True)
class Called:
    """One call to a provider that a question led to, without its content: one row of the audit log.

    `redactions` is how many secrets of the question were replaced.
    """

    question: Question
    attempt: Attempt
    redactions: int


class Assistant:
    """`redactor_for` makes the redactor of one question of a user; `on_call` hears of each call, and must not raise."""

    def __init__(
        self,
        directory: Directory,
        orchestrator: Orchestrator,
        redactor_for: Callable[[UUID, UUID | None], Redactor],
        on_call: Callable[[Called], None],
    ) -> None:
        self._directory = directory
        self._orchestrator = orchestrator
        self._redactor_for = redactor_for
        self._on_call = on_call

    def providers(self, role: str) -> list[Provider]:
        """What users of `role` may ask, in the administrator's order."""
        return self._directory.providers() if self._directory.may_use(role) else []

    def complete(
        self, question: Question, hint: Hint, *, total_secs: float, is_wanted: Callable[[], bool] = lambda: True
    ) -> Answer:
        """The whole answer. Raises what `Orchestrator.place` and `complete` raise, and StoreUnavailable.

        Without the database nothing is asked: the secrets that must not leave are not known then.
        """
        answer, redactor = self._complete(question, hint, total_secs, is_wanted)
        # The inputs of tools keep the placeholders, as in `restored`.
        return answer if question.is_kept else replace(answer, text=redactor.restore(answer.text))

    def find(
        self,
        question: Question,
        hint: Hint,
        finder: Callable[[str], Any],
        *,
        total_secs: float,
        is_wanted: Callable[[], bool] = lambda: True,
    ) -> Any:
        """What `finder` finds in the text of a whole answer: a JSON value. Raises what `complete` does, and Incomplete.

        The secrets are put back into the value: in the text, one that has a quote in it would break the JSON.
        """
        answer, redactor = self._complete(question, hint, total_secs, is_wanted)
        if answer.why_incomplete:
            raise Incomplete(f"The answer is incomplete: {answer.why_incomplete}.")
        return redactor.placeholders.restore_values(finder(answer.text))

    def stream(self, question: Question, hint: Hint, *, total_secs: float) -> Generator[Answering | Seam | Piece]:
        """What `Orchestrator.stream` tells and raises, with the secrets put back; raises what `complete` raises.

        Closing the generator cancels the call.
        """
        began_at = time.monotonic()
        with self._place(question):
            redactor, request = self._prepare(question)
            told = self._orchestrator.stream(
                request,
                question.asker.user_id,
                hint,
                total_secs=total_secs - (time.monotonic() - began_at),
                on_attempt=self._accounting(question, redactor),
            )
            pieces = told if question.is_kept else restored(told, redactor.placeholders)
            with closing(pieces):
                yield from pieces

    def _complete(
        self, question: Question, hint: Hint, total_secs: float, is_wanted: Callable[[], bool]
    ) -> tuple[Answer, Redactor]:
        began_at = time.monotonic()
        with self._place(question):
            redactor, request = self._prepare(question)
            answer = self._orchestrator.complete(
                request,
                question.asker.user_id,
                hint,
                total_secs=total_secs - (time.monotonic() - began_at),
                is_wanted=is_wanted,
                on_attempt=self._accounting(question, redactor),
            )
        return answer, redactor

    def _place(self, question: Question) -> AbstractContextManager[None]:
        if not self._directory.may_use(question.asker.role):
            raise NotConfigured("AI is switched off for you on this controller. An administrator can switch it on.")
        return self._orchestrator.place(question.asker.user_id, is_background=question.is_background)

    def _prepare(self, question: Question) -> tuple[Redactor, ChatRequest]:
        redactor = self._redactor_for(question.asker.user_id, question.session_id)
        # Before the marks are set: then a text's first line is still a line, and JSON can still be read as such.
        return redactor, _with_data_marked(redactor.redact_request(question.request), Fence())

    def _accounting(self, question: Question, redactor: Redactor) -> OnAttempt:
        return lambda attempt: self._on_call(Called(question, attempt, redactor.counts.total()))


def _with_data_marked(request: ChatRequest, fence: Fence) -> ChatRequest:
    messages = tuple(
        Message(each.role, tuple(_marked(block, fence) for block in each.blocks)) for each in request.messages
    )
    return replace(request, messages=messages, system=f"{request.system}\n\n{fence.rule}".strip())


def _marked(block: Block, fence: Fence) -> Block:
    match block:
        case ToolResult():
            # Tools return what devices print.
            return replace(block, content=fence.around(block.content))
        case Text(text, is_device_output=True):
            return Text(fence.around(text))
    return block
