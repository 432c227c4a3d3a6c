"""The only path from a user's question to a model: permission, redaction, the call, restoring, and accounting."""

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
from netstacks.llm.outcomes import Answering, Attempt, Hint, OnAttempt, ProviderSwitch
from netstacks.llm.placeholders import restored
from netstacks.llm.provider import Provider
from netstacks.llm.redaction import Redactor


@dataclass(frozen=True)
class Requester:
    """The user who makes a request. `name` and `address` are for the audit log."""

    user_id: UUID
    name: str
    role: str
    address: str | None


@dataclass(frozen=True)
class Question:
    """A request to a model with its user, the feature that makes it (`purpose`) and the session it is about, if any.

    `is_kept`: the answer is stored for other users, so its placeholders are not replaced by secrets. `is_background`:
    a page makes the request by itself, and it uses none of the user's interactive slots.
    """

    request: ChatRequest
    requester: Requester
    purpose: str
    session_id: UUID | None = None
    is_kept: bool = False
    is_background: bool = False


@dataclass(frozen=True)
class CallRecord:
    """One call to a provider for a question, without its content: one row of the audit log.

    `redactions` is the number of secrets that were replaced in the question.
    """

    question: Question
    attempt: Attempt
    redactions: int


class Assistant:
    """Answers questions. `redactor_for(user_id, session_id)` creates the redactor of one question.

    `on_call` is called after each call to a provider, and must not raise.
    """

    def __init__(
        self,
        directory: Directory,
        orchestrator: Orchestrator,
        redactor_for: Callable[[UUID, UUID | None], Redactor],
        on_call: Callable[[CallRecord], None],
    ) -> None:
        self._directory = directory
        self._orchestrator = orchestrator
        self._redactor_for = redactor_for
        self._on_call = on_call

    def providers(self, role: str) -> list[Provider]:
        """The providers that users of `role` may use, in the administrator's order."""
        return self._directory.providers() if self._directory.may_use(role) else []

    def complete(
        self, question: Question, hint: Hint, *, total_secs: float, is_wanted: Callable[[], bool] = lambda: True
    ) -> Answer:
        """The whole answer. Raises what `Orchestrator.slot` and `complete` raise, and StoreUnavailable.

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
        """The JSON value that `finder` extracts from the answer's text. Raises what `complete` does, and Incomplete.

        Secrets are restored in the parsed value: restored in the text, a secret with a quote would break the JSON.
        """
        answer, redactor = self._complete(question, hint, total_secs, is_wanted)
        if answer.why_incomplete:
            raise Incomplete(f"The answer is incomplete: {answer.why_incomplete}.")
        return redactor.placeholders.restore_values(finder(answer.text))

    def stream(
        self, question: Question, hint: Hint, *, total_secs: float
    ) -> Generator[Answering | ProviderSwitch | Piece]:
        """The items of `Orchestrator.stream`, with secrets restored. Raises what that and `complete` raise.

        Closing the generator cancels the call.
        """
        began_at = time.monotonic()
        with self._slot(question):
            redactor, request = self._prepare(question)
            items = self._orchestrator.stream(
                request,
                question.requester.user_id,
                hint,
                total_secs=total_secs - (time.monotonic() - began_at),
                on_attempt=self._accounting(question, redactor),
            )
            shown = items if question.is_kept else restored(items, redactor.placeholders)
            with closing(shown):
                yield from shown

    def _complete(
        self, question: Question, hint: Hint, total_secs: float, is_wanted: Callable[[], bool]
    ) -> tuple[Answer, Redactor]:
        began_at = time.monotonic()
        with self._slot(question):
            redactor, request = self._prepare(question)
            answer = self._orchestrator.complete(
                request,
                question.requester.user_id,
                hint,
                total_secs=total_secs - (time.monotonic() - began_at),
                is_wanted=is_wanted,
                on_attempt=self._accounting(question, redactor),
            )
        return answer, redactor

    def _slot(self, question: Question) -> AbstractContextManager[None]:
        if not self._directory.may_use(question.requester.role):
            raise NotConfigured("AI is switched off for you on this controller. An administrator can switch it on.")
        return self._orchestrator.slot(question.requester.user_id, is_background=question.is_background)

    def _prepare(self, question: Question) -> tuple[Redactor, ChatRequest]:
        redactor = self._redactor_for(question.requester.user_id, question.session_id)
        # Redaction before the data marks: its patterns rely on line starts, and on texts that are JSON as a whole.
        return redactor, _with_data_marked(redactor.redact_request(question.request), Fence())

    def _accounting(self, question: Question, redactor: Redactor) -> OnAttempt:
        return lambda attempt: self._on_call(CallRecord(question, attempt, redactor.counts.total()))


def _with_data_marked(request: ChatRequest, fence: Fence) -> ChatRequest:
    messages = tuple(
        Message(each.role, tuple(_marked(block, fence) for block in each.blocks)) for each in request.messages
    )
    return replace(request, messages=messages, system=f"{request.system}\n\n{fence.rule}".strip())


def _marked(block: Block, fence: Fence) -> Block:
    match block:
        case ToolResult():
            # Tool results contain device output.
            return replace(block, content=fence.around(block.content))
        case Text(text, is_device_output=True):
            return Text(fence.around(text))
    return block
