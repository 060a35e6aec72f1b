"""What a refused request is told: the Networking API's error document.

    HTTP/1.1 409 Conflict
    {"NeutronError": {"type": "NetworkInUse", "message": "Unable to complete operation on network …", "detail": ""}}

Rules raise an ``ApiError`` with the type and message that Neutron uses; the request then changed nothing.
"""

from typing import Final

__all__ = [
    "ApiError",
    "bad_request",
    "conflict",
    "forbidden",
    "invalid_input",
    "not_found",
    "precondition_failed",
    "unauthorized",
    "unavailable",
]

_NOUNS: Final = {
    # kind: (error type, message); the API's words differ from noun to noun
    "network": ("NetworkNotFound", "Network {} could not be found."),
    "subnet": ("SubnetNotFound", "Subnet {} could not be found."),
    "subnetpool": ("SubnetPoolNotFound", "Subnet pool {} could not be found."),
    "address_scope": ("AddressScopeNotFound", "Address scope {} could not be found."),
    "port": ("PortNotFound", "Port {} could not be found."),
    "binding": ("PortBindingNotFound", "Binding for port {} could not be found."),
    "router": ("RouterNotFound", "Router {} could not be found"),
    "floatingip": ("FloatingIPNotFound", "Floating IP {} could not be found"),
    "port_forwarding": ("PortForwardingNotFound", "Port Forwarding {} could not be found."),
    "security_group": ("SecurityGroupNotFound", "Security group {} does not exist"),
    "security_group_rule": ("SecurityGroupRuleNotFound", "Security group rule {} does not exist"),
    "default_security_group_rule": (
        "DefaultSecurityGroupRuleNotFound",
        "Default Security Group rule {} does not exist",
    ),
    "address_group": ("AddressGroupNotFound", "Address group {} could not be found."),
    "rbac_policy": ("RbacPolicyNotFound", "RBAC policy of type unknown with ID {} not found"),
    "agent": ("AgentNotFound", "Agent {} could not be found."),
}


class ApiError(Exception):
    """A request refused. ``status`` is HTTP's; ``type`` and ``message`` go into the error document."""

    def __init__(
        self, status: int, type_: str, message: str, detail: str = "", headers: tuple[tuple[str, str], ...] = ()
    ) -> None:
        """``type_`` is the name of Neutron's exception; ``headers`` go with the answer."""
        super().__init__(message)
        self.status = status
        self.type = type_
        self.message = message
        self.detail = detail
        self.headers = headers


def bad_request(type_: str, message: str) -> ApiError:
    """400."""
    return ApiError(400, type_, message)


def invalid_input(message: str) -> ApiError:
    """400 InvalidInput, in the sentence that Neutron puts around it."""
    return ApiError(400, "InvalidInput", f"Invalid input for operation: {message}.")


def unauthorized(challenge: str, message: str = "The request you have made requires authentication.") -> ApiError:
    """401. ``challenge`` tells how to authenticate (``WWW-Authenticate``)."""
    return ApiError(401, "HTTPUnauthorized", message, headers=(("www-authenticate", challenge),))


def forbidden(type_: str, message: str) -> ApiError:
    """403."""
    return ApiError(403, type_, message)


def not_found(kind: str, id_: str) -> ApiError:
    """404 for the noun ``kind`` (an entity's ``KIND``)."""
    type_, message = _NOUNS.get(kind, ("HTTPNotFound", "The resource {} could not be found."))
    return ApiError(404, type_, message.format(id_))


def conflict(type_: str, message: str) -> ApiError:
    """409."""
    return ApiError(409, type_, message)


def precondition_failed(message: str) -> ApiError:
    """412: the If-Match header does not hold."""
    return ApiError(412, "RevisionNumberConstraintFailed", message)


def unavailable(message: str) -> ApiError:
    """503: the store or Keystone does not answer."""
    return ApiError(503, "HTTPServiceUnavailable", message)
