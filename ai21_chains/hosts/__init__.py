"""Places other than AI21 Studio that serve Jamba: `ChatAI21(host=Bedrock(region="us-east-1"), …)`.

Names are loaded when they are first used, and what a host needs (botocore, google-auth) when it is
first asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ai21_chains._host import Host
from ai21_chains.errors import ConfigurationError

if TYPE_CHECKING:
    from ai21_chains.hosts.azure import Azure
    from ai21_chains.hosts.bedrock import Bedrock
    from ai21_chains.hosts.nvidia import Nvidia
    from ai21_chains.hosts.self_hosted import SelfHosted
    from ai21_chains.hosts.snowflake import Snowflake
    from ai21_chains.hosts.vertex import Vertex

__all__ = ["Azure", "Bedrock", "Host", "Nvidia", "SelfHosted", "Snowflake", "Vertex", "from_dict"]

_HOMES = {
    "Azure": "azure",
    "Bedrock": "bedrock",
    "Nvidia": "nvidia",
    "SelfHosted": "self_hosted",
    "Snowflake": "snowflake",
    "Vertex": "vertex",
}
"""Where each host lives."""


def from_dict(settings: Mapping[str, Any]) -> Host:
    """Make a host from its type and its settings, as a dump or a configuration file has them.

    Args:
        settings: The arguments of the host, and its class as `type`.

    Raises:
        ConfigurationError: There is no such host, or it has no such argument.

    Example:
        >>> from_dict({"type": "SelfHosted", "base_url": "http://gpu-1:8000/v1"})
        SelfHosted(base_url='http://gpu-1:8000/v1', chat_template_kwargs=None)
    """
    kind = settings.get("type")
    if kind not in _HOMES:
        raise ConfigurationError(f"type is {kind!r}; the hosts are {', '.join(_HOMES)}")
    arguments = {name: value for name, value in settings.items() if name != "type"}
    made: Host = __getattr__(kind)(**arguments)
    return made


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
