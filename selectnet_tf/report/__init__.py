"""Tables, figures and pages made from the rows and files of runs."""
