output "vpc_id" {
  description = "The VPC."
  value       = aws_vpc.this.id
}

output "private_subnet_ids" {
  description = "The private subnets, in the order of their CIDRs."
  value       = [for key in sort(keys(local.private)) : aws_subnet.private[key].id]
}

output "private_route_table_ids" {
  description = "The private subnets' route tables."
  value       = [for key in sort(keys(local.private)) : aws_route_table.private[key].id]
}

output "public_subnet_id" {
  description = "The client's subnet; null where there is none."
  value       = one(aws_subnet.public[*].id)
}

output "nat_addresses" {
  description = "Public addresses that relays see in mode nat."
  value       = [for eip in aws_eip.nat : eip.public_ip]
}

output "flow_log_group_name" {
  description = "The flow logs' log group."
  value       = aws_cloudwatch_log_group.flow.name
}
