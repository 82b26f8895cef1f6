variable "name" {
  description = "Prefix of every name."
  type        = string
}

variable "vpc_cidr" {
  description = "The VPC's network."
  type        = string
}

variable "private_subnet_cidrs" {
  description = "A private subnet for each availability zone."
  type        = list(string)
}

variable "public_subnet" {
  description = "Whether there is a public subnet, for the client."
  type        = bool
}

variable "public_subnet_cidr" {
  description = "The client's public subnet."
  type        = string
}

variable "nat_gateways" {
  description = "How many NAT gateways; 0 for no way to the internet."
  type        = number
}

variable "nat_subnet_cidrs" {
  description = "A subnet for each NAT gateway."
  type        = list(string)
}

variable "availability_zones" {
  description = "Zones of the private subnets; none for the region's first ones."
  type        = list(string)
}

variable "relay_routes" {
  description = "Routes of the private subnets to relays outside of the VPC."
  type = list(object({
    cidr                      = string
    transit_gateway_id        = optional(string)
    vpc_peering_connection_id = optional(string)
  }))
}

variable "log_retention_days" {
  description = "Days that flow logs are kept."
  type        = number
}

variable "kms_key_arn" {
  description = "The key of the log group."
  type        = string
}

variable "permissions_boundary_arn" {
  description = "A boundary for the role; null for none."
  type        = string
}
