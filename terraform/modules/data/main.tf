# The tables of the store. tables.json says what they are and what the service
# does with them; a Go test holds it to the service's own definition and to the
# calls that it makes.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  tables = jsondecode(file("${path.module}/tables.json"))

  # Written out rather than read from the tables, so that a plan shows what
  # policies will say.
  arns = {
    for name in keys(local.tables) : name => join(":", [
      "arn", data.aws_partition.current.partition, "dynamodb", data.aws_region.current.name,
      data.aws_caller_identity.current.account_id, "table/${var.table_prefix}${name}",
    ])
  }
}

resource "aws_dynamodb_table" "this" {
  for_each = local.tables

  name                        = "${var.table_prefix}${each.key}"
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = each.value.hash_key
  range_key                   = try(each.value.range_key, null)
  deletion_protection_enabled = var.deletion_protection

  dynamic "attribute" {
    for_each = each.value.attributes
    content {
      name = attribute.key
      type = attribute.value
    }
  }

  dynamic "global_secondary_index" {
    for_each = try(each.value.indexes, {})
    content {
      name            = global_secondary_index.key
      hash_key        = global_secondary_index.value.hash_key
      range_key       = global_secondary_index.value.range_key
      projection_type = "KEYS_ONLY"
    }
  }

  dynamic "ttl" {
    for_each = try([each.value.ttl], [])
    content {
      attribute_name = ttl.value
      enabled        = true
    }
  }

  point_in_time_recovery {
    enabled = true
  }

  server_side_encryption {
    enabled     = true
    kms_key_arn = var.kms_key_arn
  }
}
