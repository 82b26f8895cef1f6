output "table_names" {
  description = "The tables' names, prefix included, by the name that the service knows them by."
  value       = { for key, table in aws_dynamodb_table.this : key => table.name }
}

output "statements" {
  description = "What the service does with the tables, as policy statements without a principal."
  value = concat(
    [for name, table in local.tables : {
      Sid      = name
      Effect   = "Allow"
      Action   = [for action in table.actions : "dynamodb:${action}"]
      Resource = local.arns[name]
    }],
    [for name, table in local.tables : {
      Sid      = "${name}Indexes"
      Effect   = "Allow"
      Action   = [for action in table.index_actions : "dynamodb:${action}"]
      Resource = [for index in keys(table.indexes) : "${local.arns[name]}/index/${index}"]
    } if try(length(table.indexes), 0) > 0],
  )
}

output "table_indexes" {
  description = "The index of each table that has one."
  value       = { for key, table in local.tables : key => keys(table.indexes)[0] if try(length(table.indexes), 0) > 0 }
}
