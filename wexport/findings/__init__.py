"""What is sick in a table: the findings, rules of your own, and JUnit for CI."""
