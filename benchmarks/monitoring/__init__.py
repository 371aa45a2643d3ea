"""The claims of the monitors, a file each, with their rivals."""
