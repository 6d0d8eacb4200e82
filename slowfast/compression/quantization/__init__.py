"""Networks in int8 and bf16: calibrated, trained for it, and measured against what they were."""
