"""The hub: a data set or a static Space of the Hugging Face Hub, in one commit, through ``huggingface_hub``.

The address and the token are the library's own: ``HF_ENDPOINT``, and ``HF_TOKEN`` or what ``hf auth login`` stored. The
token is not read here but for whether there is one, and is never shown, logged or stored.
"""

from __future__ import annotations

import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlbench import __version__
from tlbench.errors import TlbenchError
from tlbench.leaderboard.text import bounded
from tlbench.publish.manifest import MANIFEST, stale
from tlbench.publish.model import Published

if TYPE_CHECKING:
    from huggingface_hub import HfApi

    from tlbench.publish.model import Bundle

MESSAGE = f"Publish the leaderboard (tlbench {__version__})"
LOGIN = "`hf auth login` stores a token that may write, and HF_TOKEN gives one for this time"
_CHANGED = (409, 412)
"""Answers that say that somebody else has written since."""
_TRIES = 2


@dataclass(frozen=True)
class Hub:
    """``card`` is ``dataset`` or ``space``; ``name`` is OWNER/NAME. ``private`` where it has to be made first."""

    card: str
    name: str
    private: bool = False

    @property
    def title(self) -> str:
        return f"hf://{self.card}s/{self.name}"

    def put(self, bundle: Bundle) -> Published:
        """One commit with what is new, without what an earlier publication left; made first where it is not there.

        Other files there stay. Where somebody else writes at the same time, once more on top of theirs.
        """
        from huggingface_hub import HfApi, constants, get_token
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled
        from huggingface_hub.utils.tqdm import disable_progress_bars

        if constants.HF_HUB_OFFLINE:
            raise TlbenchError(f"{self.title}: HF_HUB_OFFLINE=1 forbids to ask the hub")
        if get_token() is None:
            raise TlbenchError(f"{self.title}: nobody is logged in to {constants.ENDPOINT}; {LOGIN}")
        disable_progress_bars()
        api = HfApi(token=True, library_name="tlbench", library_version=__version__)
        try:
            for _ in range(_TRIES - 1):
                try:
                    return self._commit(api, bundle)
                except HfHubHTTPError as error:
                    if error.response.status_code not in _CHANGED:
                        raise
            return self._commit(api, bundle)
        except HfHubHTTPError as error:
            raise TlbenchError(f"{self.title}: {self._refusal(error, api.endpoint)}") from None
        except (OfflineModeIsEnabled, HFValidationError) as error:
            raise TlbenchError(f"{self.title}: {bounded(error, 300)}") from None
        except _failures() as error:
            why = _innermost(error)
            if isinstance(why, HfHubHTTPError):
                raise TlbenchError(f"{self.title}: {self._refusal(why, api.endpoint)}") from None
            said = bounded(why, 300).rstrip(". ") or type(why).__name__
            raise TlbenchError(
                f"{self.title}: {api.endpoint} did not answer as it should: {said}. "
                "What was there is unchanged unless it says otherwise; the same command tries again."
            ) from None

    def _commit(self, api: HfApi, bundle: Bundle) -> Published:
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        tip, gone = self._there(api, bundle)
        operations: list[Any] = [CommitOperationDelete(path_in_repo=name, is_folder=False) for name in gone]
        operations += [CommitOperationAdd(name, str(bundle.folder / name)) for name in bundle.files]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*commit a data file", category=UserWarning)  # of a Space
            done = api.create_commit(
                self.name, operations, commit_message=MESSAGE, repo_type=self.card, parent_commit=tip
            )
        return Published(f"{api.endpoint}/{self.card}s/{self.name}", changed=done.oid != tip, removed=len(gone))

    def _there(self, api: HfApi, bundle: Bundle) -> tuple[str | None, list[str]]:
        """The last commit, and which files go; makes the repository where there is none.

        The hub puts an example page into a new Space, which is ours to replace.
        """
        from huggingface_hub.errors import RepositoryNotFoundError

        fresh = False
        try:
            info = api.repo_info(self.name, repo_type=self.card)
        except RepositoryNotFoundError:
            sdk = "static" if self.card == "space" else None
            api.create_repo(self.name, repo_type=self.card, private=self.private or None, space_sdk=sdk)
            info = api.repo_info(self.name, repo_type=self.card)
            fresh = True
        there = [s.rfilename for s in getattr(info, "siblings", None) or ()]
        if fresh:
            return info.sha, sorted(set(there) - bundle.files.keys() - {".gitattributes"})
        before = None
        if MANIFEST in there:
            with tempfile.TemporaryDirectory(prefix="tlbench-hub-") as temporary:
                path = api.hf_hub_download(
                    self.name, MANIFEST, repo_type=self.card, revision=info.sha, local_dir=temporary
                )
                before = Path(path).read_bytes()
        return info.sha, stale(there, before, bundle.files, self.title)

    def _refusal(self, error: Any, endpoint: str) -> str:
        """What an answer of the hub means, and what helps; its own words, bounded."""
        status = error.response.status_code
        said = f" ({bounded(error.server_message, 200)})" if error.server_message else ""
        owner = self.name.partition("/")[0]
        if status == 401:
            return f"{endpoint} does not take the token{said}; {LOGIN}"
        if status == 403:
            return f"the token may not write to {owner!r}{said}; {LOGIN}"
        if status == 404:
            return f"{endpoint} knows no {owner!r}, or does not let this token see it{said}; {LOGIN}"
        if status in _CHANGED:
            return f"somebody else is writing there{said}; the same command tries again"
        if status == 429:
            return f"{endpoint} asks to wait{said}; the same command tries again"
        if status >= 500:
            return f"{endpoint} failed with {status}{said}; nothing was committed. The same command tries again"
        return f"{endpoint} refused with {status}{said}"


def _failures() -> tuple[type[Exception], ...]:
    """What the library raises where an upload fails; its transport's own error is the base of the hub's."""
    from huggingface_hub.errors import HfHubHTTPError

    bases = [base for base in HfHubHTTPError.__bases__ if issubclass(base, Exception)]
    return (OSError, RuntimeError, ValueError, *bases)


def _innermost(error: BaseException) -> BaseException:
    """The hub's answer behind the library's own error, or else where the error began."""
    from huggingface_hub.errors import HfHubHTTPError

    while error.__cause__ is not None and not isinstance(error, HfHubHTTPError):
        error = error.__cause__
    return error
