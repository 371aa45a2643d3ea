"""`kaizen.Detector`: anything with a stream."""
