"""What Keras writes into its files, for packages that read more of Keras than the weights.

read_saved(source): a whole model as its file has it: config, how it was compiled, and the weights.
model_of(stored, config, metadata, format): the model that Keras 3's saver laid out, from wherever it lies.
names: what Keras' own names of variables tell: `names.read` parses those of a layer, `names.layout` lays one out.
"""

from wexport.readers.keras import names
from wexport.readers.keras.names import ParsedName
from wexport.readers.keras.saved import SavedModel, read_saved
from wexport.readers.keras.v3 import Stored, Variable, model_of

__all__ = ["ParsedName", "SavedModel", "Stored", "Variable", "model_of", "names", "read_saved"]
