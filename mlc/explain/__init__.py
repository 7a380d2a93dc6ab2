"""Why a model decides as it does: asked of heads, told in numbers."""
