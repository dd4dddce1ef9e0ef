"""What plugins add: found, loaded one by one, listed, and called so that none can harm the others."""
