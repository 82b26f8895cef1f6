output "instance_id" {
  description = "For Session Manager."
  value       = aws_instance.this.id
}

output "security_group_id" {
  description = "The instance's group."
  value       = aws_security_group.this.id
}
