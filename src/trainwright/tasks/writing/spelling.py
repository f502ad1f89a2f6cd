"""Tokens become text as they come, as far as it can be said yet."""

from collections.abc import Callable, Sequence

BEFORE = 6  # tokens that are spelt again, for what a token is may depend on those before it
UNFINISHED = "�"  # a letter of which some bytes are still to come


class Spelling:
    """One text that grows: what of it may be shown, until one of the `stop` strings is in it."""

    def __init__(
        self, spell: Callable[[Sequence[int]], str], prompt: Sequence[int], stop: Sequence[str]
    ) -> None:
        """`spell`: the text of tokens."""
        self._spell, self._stop = spell, tuple(stop)
        self._tokens = list(prompt)
        self._told = len(self._tokens)  # tokens whose text is in `text`
        self._shown = 0  # letters
        self.text = ""  # without the prompt
        self.is_stopped = False

    def add(self, token: int) -> str:
        """Take one more token; what can be shown now."""
        self._tokens.append(token)
        return self._grown(is_last=False)

    def end(self) -> str:
        """What was kept back."""
        return self._grown(is_last=True)

    def _grown(self, *, is_last: bool) -> str:
        begin = max(0, self._told - BEFORE)
        before = self._spell(self._tokens[begin : self._told])
        now = self._spell(self._tokens[begin:])
        if not self.is_stopped and (is_last or not now.endswith(UNFINISHED)):
            self._told = len(self._tokens)
            self._take(now[len(before) :])
        end = len(self.text) - (0 if is_last or self.is_stopped else self._kept_back())
        shown, self._shown = self.text[self._shown : end], max(self._shown, end)
        return shown

    def _take(self, more: str) -> None:
        longest = max(map(len, self._stop), default=1)
        looked_at = max(0, len(self.text) - longest + 1)
        self.text += more
        places = [self.text.find(stop, looked_at) for stop in self._stop]
        found = [place for place in places if place >= 0]
        if found:
            self.text, self.is_stopped = self.text[: min(found)], True

    def _kept_back(self) -> int:
        """How many letters at the end could be the beginning of a stop string."""
        return max(
            (
                size
                for stop in self._stop
                for size in range(1, len(stop))
                if self.text.endswith(stop[:size])
            ),
            default=0,
        )
