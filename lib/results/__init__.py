"""Records of finished rows: written and read (`records`, `schema`), gathered (`store`), made into cells (`cells`) and tables (`filled`)."""
