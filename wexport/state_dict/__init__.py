"""What the names and shapes of a torch state dict tell of the modules behind it.

A state dict names its tensors by module (`layer1.0.bn1.running_mean`) and says nothing of classes. But torch.nn's
modules are a closed set, and what parameters a module has, and of what shapes, often leaves one only. Where it leaves
several, what stands before and after in a chain of modules may decide, and at last whole words of a documented
vocabulary (`words`). Else the role, class or layout stays unknown.
"""

from __future__ import annotations

from wexport.state_dict.describing import describe, looks_like_torch
from wexport.state_dict.encodings import decoded

__all__ = ["decoded", "describe", "looks_like_torch"]
