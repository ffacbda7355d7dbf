"""Makes models of pictures, stage by stage: who wins the row does the stage."""
