"""The Networking API for commands: who asks is said as for ``openstack``, and what goes wrong ends in the user's words."""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from floatway.cli.errors import BadInput, Complaint

if TYPE_CHECKING:
    from floatway.agent.networking import Networking

MEND = "does the server run? (of a lab: floatway lab status)\nis it elsewhere? OS_CLOUD or OS_ENDPOINT say where"


@contextlib.contextmanager
def asking(url: str = "", *, seconds: float = 30.0) -> Iterator["Networking"]:
    """The API at ``url`` without authentication, or else where OS_CLOUD and OS_… say; ``seconds`` for each answer.

    Raises:
        BadInput: who asks is not said well enough; nothing has the name, or several have.
        Complaint: the API refuses otherwise, or does not answer.
    """
    from floatway.agent.networking import Login, LoginError, Networking, NetworkingError, Unreachable, login

    try:
        with contextlib.closing(Networking(Login(endpoint=url) if url else login(), seconds=seconds)) as api:
            yield api
    except LoginError as error:
        raise BadInput(str(error)) from error
    except NetworkingError as error:
        kind = BadInput if error.kind in {"NotFound", "NotUnique", "HostNotFound"} else Complaint
        raise kind(str(error)) from error
    except Unreachable as error:
        mend = "is it right, and does the server run?" if url else MEND
        raise Complaint(f"the Networking API does not answer: {error}", mend=mend) from error
