"""What goes wrong in quantising."""

from slowfast.utils.errors import UserError


class QuantizationError(UserError, ValueError):
    """Something asked for makes no sense, or cannot be had here."""
