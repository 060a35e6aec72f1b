"""clouds.yaml, so that ``export OS_CLOUD=floatway`` is all that an OpenStack client needs for the lab.

~/.config/openstack/clouds.yaml      written if there is none, taken away with the lab; one that somebody else wrote is left alone
/var/lib/floatway/lab/NAME/clouds.yaml   always, for OS_CLIENT_CONFIG_FILE
"""

import os
import pwd
from collections.abc import Mapping
from pathlib import Path

from floatway.lab.served import VAR, Server

__all__ = ["environment", "remove", "write"]

MARK = "# Written by: floatway lab up. Taken away by: floatway lab down."
CLOUD = "floatway"
SYSTEM = Path("/etc/openstack/clouds.yaml")


def text(name: str, server: Server, more: Mapping[str, str]) -> str:
    """The file for one lab; ``more`` keys of the cloud's entry."""
    return "\n".join(
        [
            f"{MARK[:-1]} ({name})",
            "clouds:",
            f"  {CLOUD}:",
            "    auth_type: none",
            "    auth:",
            f"      endpoint: {server.url}",
            "    region_name: lab",
            *(f"    {key}: {value}" for key, value in more.items()),
            "",
        ]
    )


def write(name: str, server: Server, more: Mapping[str, str]) -> str:
    """Write them, with ``more`` keys of the cloud's entry; what a person has to type to use the cloud."""
    own = VAR / name / "clouds.yaml"
    content = text(name, server, more)
    own.write_text(content)
    own.chmod(0o644)
    home, user = _home()
    theirs = home / ".config" / "openstack" / "clouds.yaml"
    if (theirs.exists() and not _ours(theirs, name)) or (SYSTEM.exists() and not theirs.exists()):
        return f"export OS_CLIENT_CONFIG_FILE={own} OS_CLOUD={CLOUD}"
    made = [parent for parent in (home / ".config", theirs.parent) if not parent.exists()]
    theirs.parent.mkdir(parents=True, exist_ok=True)
    theirs.write_text(content)
    for path in (*made, theirs):
        os.chown(path, user.pw_uid, user.pw_gid)
    return f"export OS_CLOUD={CLOUD}"


def environment(name: str) -> dict[str, str]:
    """What names a lab to an OpenStack client, whatever else is configured."""
    return {"OS_CLIENT_CONFIG_FILE": str(VAR / name / "clouds.yaml"), "OS_CLOUD": CLOUD}


def remove(name: str) -> None:
    """Take away what ``write`` wrote in somebody's home; fine when it is not there."""
    home, _ = _home()
    theirs = home / ".config" / "openstack" / "clouds.yaml"
    if _ours(theirs, name):
        theirs.unlink(missing_ok=True)
        for directory in (theirs.parent, theirs.parent.parent):
            try:
                directory.rmdir()
            except OSError:
                break


def _ours(path: Path, name: str) -> bool:
    try:
        return path.read_text().startswith(f"{MARK[:-1]} ({name})")
    except (OSError, UnicodeDecodeError):
        return False


def _home() -> tuple[Path, pwd.struct_passwd]:
    """Of the person who typed sudo, else of root."""
    try:
        user = pwd.getpwnam(os.environ.get("SUDO_USER", ""))
    except KeyError:
        user = pwd.getpwuid(os.getuid())
    return Path(user.pw_dir), user
