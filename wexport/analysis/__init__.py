"""What is worked out between models from a table: matching, similarity, clusters, drift, what goes with a metric."""
