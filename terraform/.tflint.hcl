# The rules of the language itself: names, descriptions, types, what is unused.
plugin "terraform" {
  enabled = true
  preset  = "all"
}

# Root and modules have their own files for what the rule wants in main.tf.
rule "terraform_standard_module_structure" {
  enabled = false
}

# The modules are this stack's own and take the root's versions.
rule "terraform_required_version" {
  enabled = false
}

rule "terraform_required_providers" {
  enabled = false
}
