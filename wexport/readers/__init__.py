"""The formats that are read without a plugin: HDF5, and what Keras writes."""
