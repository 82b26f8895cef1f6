# The tables, and what may be done with them. That tables.json is what the
# service expects is the Go test's part.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  table_prefix        = "test-"
  kms_key_arn         = "arn:aws-us-gov:kms:us-gov-west-1:123456789012:key/k"
  deletion_protection = true
}

run "tables" {
  module { source = "./modules/data" }

  assert {
    condition     = sort([for t in aws_dynamodb_table.this : t.name]) == tolist(["test-EmailCampaigns", "test-EmailContacts", "test-EmailDeliveries", "test-EmailWork"])
    error_message = "The tables are not those of the service."
  }

  assert {
    condition = alltrue([for t in aws_dynamodb_table.this :
      t.billing_mode == "PAY_PER_REQUEST" && t.deletion_protection_enabled && t.point_in_time_recovery[0].enabled &&
      t.server_side_encryption[0].enabled && t.server_side_encryption[0].kms_key_arn == var.kms_key_arn
    ])
    error_message = "A table is not on demand, protected, recoverable and encrypted with our key."
  }

  assert {
    condition     = [for t in aws_dynamodb_table.this : t.name if length(t.ttl) > 0] == ["test-EmailWork"] && one(aws_dynamodb_table.this["EmailWork"].ttl).attribute_name == "expires_at"
    error_message = "Work, and nothing else, expires by expires_at."
  }

  assert {
    condition     = one(aws_dynamodb_table.this["EmailWork"].global_secondary_index).name == "due" && one(aws_dynamodb_table.this["EmailWork"].global_secondary_index).projection_type == "KEYS_ONLY"
    error_message = "Work has the index due, of keys only."
  }
}

run "statements" {
  module { source = "./modules/data" }

  assert {
    condition     = alltrue([for s in output.statements : alltrue([for r in flatten([s.Resource]) : startswith(r, "arn:aws-us-gov:dynamodb:us-gov-west-1:123456789012:table/test-Email") && !strcontains(r, "*")])])
    error_message = "A statement names more than one table."
  }

  assert {
    condition     = alltrue([for s in output.statements : alltrue([for a in s.Action : !strcontains(a, "*")])])
    error_message = "A statement allows actions by a pattern."
  }
}
