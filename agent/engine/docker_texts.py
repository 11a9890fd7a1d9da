"""Docker's many texts, as one readable line each: the only place that knows them. Pure."""

from __future__ import annotations

import re

LINE = 300
"""Characters of a text that is not in the table."""

_TABLE: tuple[tuple[str, str], ...] = (
    # starting
    (r"Bind for \S*?:(\d+) failed: port is already allocated", r"port \1 is already taken on this node"),
    (r"all ports are allocated", "no free host port is left on this node"),
    (r"listen (tcp|udp)\d? \S*?:(\d+): bind: address already in use", r"port \2/\1 is already taken on this node"),
    (r"bind host port (?:for )?\S*?:(\d+)(?::\S+)?: address already in use", r"port \1 is already taken on this node"),
    (r"bind host port \S*?:(\d+)/(tcp|udp): address already in use", r"port \1/\2 is already taken on this node"),
    (r'exec: \\?"(.*?)\\?": executable file not found', r'command "\1" is not in the image'),
    (r'exec: \\?"(.*?)\\?": (?:stat \S+: )?no such file or directory', r'command "\1" is not in the image'),
    (r"exec (\S+?): no such file or directory", r'command "\1" is not in the image'),
    (r'exec: \\?"(.*?)\\?": (?:stat \S+: )?permission denied', r'command "\1" in the image may not be executed'),
    (r'exec: \\?"(.*?)\\?": is a directory', r'command "\1" is a directory in the image'),
    (r"[Nn]o command specified", "the image names no command, and neither does the service"),
    (r"exec format error", "the image's program is for another platform"),
    (r"unable to find user (\S+?):", r'user "\1" is not in the image'),
    (r"unable to find group (\S+?):", r'group "\1" is not in the image'),
    # making
    (r"bind source path does not exist: (\S+)", r"bind source path does not exist: \1"),
    (r'gathering device information while adding custom device "(.*?)"', r"device does not exist: \1"),
    (r"Minimum memory limit allowed is (\w+)", r"the memory limit is too small: the engine wants at least \1"),
    (r"Range of CPUs is from \S+ to (\S+?),", r"the CPU limit is too high: this node has \1 CPUs"),
    (r"no space left on device", "the engine's disk is full: no space left on device"),
    (r"[Dd]isk quota exceeded", "the engine's disk is full: disk quota exceeded"),
    (r'(?:plugin "(.*?)" not found)', r'there is no plugin "\1" on this node'),
    (r'container name "/?(.*?)" is already in use by container "?(\w{12})', r"the container name \1 is taken by \2"),
    (r"volume is in use - \[(\w{12})", r"the volume is used by container \1"),
    (
        r"You cannot remove a running container|container is running: stop the container before removing",
        "the container runs: stop it first",
    ),
    (r"invalid reference format", "not an image reference"),
    (r"[Nn]o such container: (\S+)", r"no such container: \1"),
    (r"[Nn]o such image: (\S+)", r"no such image: \1"),
    (r"[Nn]o such volume: (\S+)|get (\S+): no such volume", r"no such volume: \1\2"),
)

_PULLING: tuple[tuple[str, str], ...] = (
    (
        r"pull access denied for (\S+?),",
        r"no image \1 in its registry, or no right to pull it (docker login on the node)",
    ),
    (r"manifest for (\S+) not found", r"the registry has no image \1"),
    (r"manifest unknown|name unknown|repository name not known", "the registry has no image of that name and tag"),
    (r"no matching manifest for (\S+)", r"the registry has no such image for \1"),
    (
        r"image with reference (\S+) was found but does not match the specified platform",
        r"image \1 is for another platform",
    ),
    (
        r"lookup (\S+?)(?: on \S+)?: (?:no such host|server misbehaving|Temporary failure)",
        r"the registry's name \1 can't be resolved",
    ),
    (
        r"lookup (\S+) on (\S+?):? .*?(?:refused|timeout|unreachable)",
        r"the registry's name \1 can't be resolved: DNS server \2 does not answer",
    ),
    (
        r"dial tcp (\S+?): (?:connect: )?(connection refused|network is unreachable|no route to host|i/o timeout)",
        r"the registry at \1 can't be reached: \2",
    ),
    (
        r"(Client\.Timeout exceeded|TLS handshake timeout|context deadline exceeded|i/o timeout)",
        r"the registry does not answer in time (\1)",
    ),
    (r"toomanyrequests", "the registry refuses: too many pulls (docker login on the node helps)"),
    (
        r"no basic auth credentials",
        "the registry wants a login, and this node has none for it (docker login on the node)",
    ),
    (
        r"unauthorized|authentication required|denied: ",
        "the registry refuses: no right to pull it (docker login on the node)",
    ),
    (r"x509: (.*)", r"the registry's certificate is not trusted: \1"),
    (r"gave HTTP response to HTTPS client", "the registry speaks plain HTTP, which this node's engine does not allow"),
)

_RULES = tuple((re.compile(pattern, re.DOTALL), line) for pattern, line in _TABLE)
_PULL_RULES = tuple((re.compile(pattern, re.DOTALL), line) for pattern, line in _PULLING)

_NOISE = re.compile(
    r"(?:failed to create (?:shim task|task for container)|OCI runtime create failed|runc create failed|"
    r"unable to start container process|container_linux\.go:\d+|Error response from daemon|"
    r"starting container process caused|error during container init): "
)


def explain(text: str) -> str:
    """Docker's text as one line that a person can act on."""
    return _told(text, _RULES)


def explain_pull(text: str) -> str:
    """The same for a pull's text, which may come from the registry."""
    return _told(text, (*_PULL_RULES, *_RULES))


def _told(text: str, rules: tuple[tuple[re.Pattern[str], str], ...]) -> str:
    for pattern, line in rules:
        match = pattern.search(text)
        if match:
            return match.expand(line)
    plain = " ".join(_NOISE.sub("", text).split())
    return plain if len(plain) <= LINE else plain[: LINE - 1] + "…"
