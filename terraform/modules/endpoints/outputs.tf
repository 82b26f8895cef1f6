output "task_security_group_id" {
  description = "The group of the endpoints that tasks use."
  value       = aws_security_group.tasks.id
}

output "api_endpoint_id" {
  description = "The execute-api endpoint."
  value       = aws_vpc_endpoint.api.id
}

output "api_endpoint_dns_name" {
  description = "The execute-api endpoint's own name, for callers without private DNS."
  value       = try(aws_vpc_endpoint.api.dns_entry[0].dns_name, "")
}

output "api_security_group_id" {
  description = "The group of the execute-api endpoint."
  value       = aws_security_group.api.id
}

output "smtp_security_group_id" {
  description = "The group of SES's endpoint; null outside of mode ses."
  value       = one(aws_security_group.smtp[*].id)
}
